"""Images that could not be stored wait on local disk: they are paid for, and must not be made twice.

One file per object: a line of JSON, then the bytes. A file is written atomically, so half of one is never
taken for an image when a process dies while it writes. Several processes may share the directory; storing
the same object twice is harmless, because objects are immutable.

A file that cannot be parsed (the disk damaged it, another program wrote it) is set aside under another name,
for the operator to look at, and never stops the others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from imagequeue.media.durable import make_private, write_over
from imagequeue.media.keys import checked_key
from imagequeue.media.storage import StorageUnavailable

log = structlog.get_logger()

_ENDING = ".spill"
_ASIDE = ".aside"


class SpillUnavailable(StorageUnavailable):
    """The local disk did not work; the storage may."""


@dataclass(frozen=True, slots=True)
class SpilledObject:
    """An object that waits for its storage. `note` is JSON that the caller of `Spill.put` added."""

    key: str
    media_type: str
    note: dict[str, Any] = field(default_factory=dict[str, Any])
    path: Path = field(default=Path(), compare=False)

    def content(self) -> bytes:
        """Its bytes.

        Raises:
            SpillUnavailable: it is gone (another process has stored it) or cannot be read.
        """
        with _failures(), self.path.open("rb") as file:
            file.readline()
            return file.read()


class Spill:
    """A directory on a local disk, the same one after a restart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, key: str, content: bytes, media_type: str, note: dict[str, Any] | None = None) -> None:
        """Write an object durably; writing it again replaces it.

        Raises:
            SpillUnavailable: the local disk does not take it either.
        """
        head = json.dumps({"key": checked_key(key), "media_type": media_type, "note": note or {}})
        with _failures():
            write_over(self._path(key), head.encode() + b"\n" + content)

    def pending(self) -> Iterator[SpilledObject]:
        """Every object that waits and can be read, oldest first; `content()` reads its bytes.

        Raises:
            SpillUnavailable: the directory cannot be read.
        """
        with _failures():
            found = [(path.stat().st_mtime_ns, path) for path in self.directory.glob(f"*{_ENDING}")]
        for _, path in sorted(found):
            try:
                spilled = self._read(path)
            except SpillUnavailable as error:
                log.warning("spilled_file_unreadable", file=path.name, reason=str(error))
                continue
            if spilled:
                yield spilled

    def find(self, key: str) -> SpilledObject | None:
        """The object that waits under a key; None when there is none.

        Raises:
            SpillUnavailable: it cannot be read.
        """
        return self._read(self._path(key))

    def remove(self, key: str) -> None:
        """Remove an object that is stored now; one that is not there is fine."""
        with _failures():
            self._path(key).unlink(missing_ok=True)

    def set_aside(self, path: Path) -> None:
        """Rename a file that cannot be stored: it waits no longer, and the operator can look at it."""
        log.error("spilled_file_set_aside", file=path.name)
        with _failures(), contextlib.suppress(FileNotFoundError):
            path.rename(path.with_suffix(_ASIDE))

    def put_aside(self, name: str, content: bytes) -> None:
        """Write bytes that are no object and cannot be stored, for the operator to look at.

        Raises:
            SpillUnavailable: the local disk does not take them either.
        """
        path = self.directory / f"{name}{_ASIDE}"
        with _failures():
            write_over(path, content)
        log.error("answer_left_aside", file=path.name)

    def free_bytes(self) -> int:
        """Free space on the disk, in bytes."""
        with _failures():
            make_private(self.directory)
            return shutil.disk_usage(self.directory).free

    def _read(self, path: Path) -> SpilledObject | None:
        """The object of a file; None when another process has removed it, or it had to be set aside."""
        try:
            with path.open("rb") as file:
                return _parsed(path, file.readline())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SpillUnavailable(f"spill directory: {error}") from error
        except ValueError:  # not JSON, not UTF-8, or not written by `put`
            self.set_aside(path)
            return None

    def _path(self, key: str) -> Path:
        return self.directory / (hashlib.sha256(key.encode()).hexdigest() + _ENDING)


def _parsed(path: Path, head: bytes) -> SpilledObject:
    """Parse the first line of a file.

    Raises:
        ValueError: `Spill.put` did not write it.
    """
    parsed: Any = json.loads(head)
    match parsed:
        case {"key": str(key), "media_type": str(media_type), "note": {**note}}:
            return SpilledObject(checked_key(key), media_type, note, path)
        case _:
            raise ValueError("not the first line of a spilled object")


@contextlib.contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise SpillUnavailable(f"spill directory: {error}") from error
