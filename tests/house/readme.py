"""The examples of README.md."""

from __future__ import annotations

import re

from tests.house.checkout import text

BLOCKS: list[tuple[str, str]] = re.findall(
    r"^```(\w+)\n(.*?)^```$", text("README.md"), re.MULTILINE | re.DOTALL
)


def blocks(language: str, containing: str = "") -> list[str]:
    """The blocks of one language."""
    return [block for name, block in BLOCKS if name == language and containing in block]


def block(language: str, containing: str) -> str:
    """The one block of a language that contains a text."""
    (found,) = blocks(language, containing)
    return found
