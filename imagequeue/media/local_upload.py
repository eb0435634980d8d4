"""An object in a directory that is written part by part."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Self

from imagequeue.media.durable import PART_PREFIX, sync_directory
from imagequeue.media.storage import KeyConflict


class LocalUpload:
    """A file without its name yet, in the directory in which it will have it. It raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=PART_PREFIX, dir=path.parent)
        self._part = Path(name)
        self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, content: bytes) -> None:
        """Add bytes."""
        self._file.write(content)

    def finish(self) -> None:
        """Give the file its name, durably."""
        self._file.flush()
        os.fsync(self._file.fileno())
        try:
            self._path.hardlink_to(self._part)
        except FileExistsError:
            raise KeyConflict(f"{self._path.name} is stored already") from None
        sync_directory(self._path.parent)


def remove_parts(directory: Path, before: datetime) -> int:
    """Remove files without a name that nobody has written to since then; how many there were."""
    removed = 0
    for part in directory.rglob(f"{PART_PREFIX}*"):
        try:
            if part.stat().st_mtime < before.timestamp():
                part.unlink()
                removed += 1
        except FileNotFoundError:  # its upload has ended
            continue
    return removed
