"""The files of this checkout, and the commands of the console script."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from cli.main import COMMANDS, application

ROOT = Path(__file__).resolve().parents[2]


def text(name: str) -> str:
    """A file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tracked(*patterns: str) -> tuple[Path, ...]:
    """The project's own files that match one of the patterns, relative to its root.

    Without git, which need not be there: what .gitignore names is left out.
    """
    found = (path.relative_to(ROOT) for path in _files(ROOT))
    return tuple(sorted(path for path in found if any(path.match(pattern) for pattern in patterns)))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif not _ignored(path):
            yield from _files(path)


def _ignored(folder: Path) -> bool:
    name = folder.name
    made = folder.parent == ROOT and name in {"demo", "build"}
    return made or name == "__pycache__" or name.endswith(".egg-info") or (name[0] == "." and name != ".ci")


def imported(path: Path) -> Iterator[str]:
    """The full names of the modules, and of what may be modules, that a file imports."""
    for node in ast.walk(ast.parse(text(str(path)))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def understood(words: list[str]) -> str | None:
    """Why the console script would refuse `words` before it does anything; None: it would not."""
    if words[0] not in COMMANDS:
        return f"no such command: {words[0]}"
    command: Any = get_command(application(words))
    try:
        while hasattr(command, "resolve_command"):
            _name, command, words = command.resolve_command(typer.Context(command), words)
        command.make_context(command.name, list(words))
    except Exception as refused:  # noqa: BLE001  # of typer's private copy of click
        return f"{type(refused).__name__}: {refused}"
    return None
