"""The keys of stored objects: `v1/{request_id}/{attempt_id}/output.png`, `inputs/{sha256}`.

Source: docs/design/pipeline.md, "Stored objects".

A key names the same bytes for ever. The key of a late duplicate has its own attempt's id, so it overwrites
nothing.
"""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

from imagequeue.domain.images import OutputFormat

_KEY = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,200}(/(?!\.)[A-Za-z0-9._-]{1,200})*")


OUTPUT_PREFIX = "v1/"
"""Begins the keys of the images that jobs made."""


def output_key(request_id: str, attempt_id: UUID, number: int, output_format: OutputFormat) -> str:
    """The key of an attempt's image; `number` counts from 1: `output.png`, `output_2.png`."""
    name = "output" if number == 1 else f"output_{number}"
    return checked_key(f"{OUTPUT_PREFIX}{request_id}/{attempt_id}/{name}.{output_format}")


def input_key(content: bytes) -> str:
    """The key of an input image: its content names it, so the same image is stored once."""
    return f"inputs/{hashlib.sha256(content).hexdigest()}"


def checked_key(key: str) -> str:
    """Return the key if it is well formed.

    Raises:
        ValueError: too long; or a part is empty, starts with a dot or has a character not in `_KEY`.
    """
    if len(key) > 900 or not _KEY.fullmatch(key):  # noqa: PLR2004  # S3 takes 1024 bytes, prefix included
        raise ValueError(f"{key[:100]!r} is not a storage key")
    return key
