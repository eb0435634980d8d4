"""Writing a file so that it is either whole under its name or not there, also after a power cut."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PART_PREFIX = ".part-"
"""Starts the names of files that are still being written; no storage key starts with a dot."""


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for nobody but the user of this process.

    `mkdir` with `parents` gives its mode to the last one alone. What is there already stays as it is.

    Raises:
        OSError: it could not be made.
    """
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def write_new(path: Path, content: bytes, unfinished: Path) -> None:
    """Write `path` durably, atomically and never over an existing file.

    `unfinished` is the folder, on the same disk, in which the file stands until it is whole.

    Raises:
        FileExistsError: there is such a file.
        OSError: it could not be written; nothing is left behind.
    """
    make_private(unfinished)
    part = _written_part(unfinished, content)
    try:
        name_new(path, part)
    finally:
        part.unlink()


def name_new(path: Path, part: Path) -> None:
    """Give a whole file its name, durably and never over an existing one; `part` keeps its own.

    Raises:
        FileExistsError: there is such a file.
        OSError: it could not be named.
    """
    make_private(path.parent)
    path.hardlink_to(part)
    sync_directory(path.parent)


def write_over(path: Path, content: bytes) -> None:
    """Write `path` durably and atomically, in place of what was there.

    Raises:
        OSError: it could not be written; what was there is still there.
    """
    make_private(path.parent)
    part = _written_part(path.parent, content)
    try:
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _written_part(directory: Path, content: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=PART_PREFIX, dir=directory)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink()
        raise
    return part


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
