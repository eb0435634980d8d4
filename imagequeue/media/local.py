"""Objects as files in a directory, served by the API."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self
from uuid import uuid4

from imagequeue.media.durable import PART_PREFIX, make_private, name_new, write_new
from imagequeue.media.keys import checked_key
from imagequeue.media.storage import KeyConflict, ObjectMissing, StorageUnavailable

LEAST_FREE_BYTES = 64 * 1024 * 1024
"""With less free the storage counts as full: the images of the calls in flight still need room."""

UNFINISHED = ".unfinished"
"""The folder of all files that are still being written, so that those which a killed process left are found
without a look at every image. No storage key starts with a dot."""


class LocalStorage:
    """A storage in a directory. Its files are durable when `put` returns."""

    def __init__(self, directory: Path, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
        self.directory = directory.resolve()
        self.least_free_bytes = least_free_bytes
        self._unfinished = self.directory / UNFINISHED

    def put(self, key: str, content: bytes, media_type: str) -> None:
        del media_type  # the key's ending or the content itself says it
        path = self.path(key)
        with _failures():
            try:
                write_new(path, content, self._unfinished)
            except FileExistsError:
                if path.read_bytes() != content:
                    raise KeyConflict(f"{key} holds other bytes") from None

    def get(self, key: str) -> bytes:
        with _failures():
            try:
                return self.path(key).read_bytes()
            except (FileNotFoundError, IsADirectoryError):
                raise ObjectMissing(key) from None

    def read(self, key: str, begin: int, size: int) -> bytes:
        with _failures():
            try:
                with self.path(key).open("rb") as file:
                    file.seek(begin)
                    return file.read(size)
            except (FileNotFoundError, IsADirectoryError):
                raise ObjectMissing(key) from None

    def exists(self, key: str) -> bool:
        with _failures():
            return self.path(key).is_file()

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._delete(self.path(key))

    def _delete(self, path: Path) -> None:
        """Remove a file, and the directories that become empty."""
        with _failures():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or another process is filling it
            for parent in path.relative_to(self.directory).parents[:-1]:
                (self.directory / parent).rmdir()

    def upload(self, key: str, media_type: str) -> LocalUpload:
        del media_type
        with _failures():
            return LocalUpload(self.path(key), self._unfinished)

    def abort_uploads(self, before: datetime) -> int:
        with _failures():
            old = [path for path in self._unfinished.glob(f"{PART_PREFIX}*") if _is_older(path, before)]
            for path in old:
                path.unlink(missing_ok=True)
        return len(old)

    def url(self, key: str, *, lifetime: timedelta = timedelta(hours=1)) -> str | None:
        """None: the API serves the files."""
        del key, lifetime

    def check_room(self) -> None:
        with _failures():
            make_private(self.directory)
            free = shutil.disk_usage(self.directory).free
        if free < self.least_free_bytes:
            raise StorageUnavailable(f"only {free // 2**20} MiB are free in the media directory")

    def check_write(self) -> None:
        """Write and remove a file; fails also when there is no room for more."""
        key = f"probes/{os.getpid()}-{uuid4()}"
        self.put(key, b"probe", "application/octet-stream")
        self.delete(key)
        self.check_room()

    def path(self, key: str) -> Path:
        """The file of a key, for the server that sends it.

        Raises:
            ValueError: the key is not well formed.
        """
        return self.directory / checked_key(key)


class LocalUpload:
    """A file without its name yet, in the folder of those that are `unfinished`."""

    def __init__(self, path: Path, unfinished: Path) -> None:
        self._path = path
        make_private(unfinished)
        descriptor, name = tempfile.mkstemp(prefix=PART_PREFIX, dir=unfinished)
        self._part = Path(name)
        self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _failures():
            self._file.close()
            self._part.unlink(missing_ok=True)

    def write(self, content: bytes) -> None:
        with _failures():
            self._file.write(content)

    def finish(self) -> None:
        with _failures():
            self._file.flush()
            os.fsync(self._file.fileno())
            try:
                name_new(self._path, self._part)
            except FileExistsError:
                raise KeyConflict(f"{self._path.name} is stored already") from None


def _is_older(path: Path, moment: datetime) -> bool:
    with contextlib.suppress(FileNotFoundError):  # its upload has ended
        return path.stat().st_mtime < moment.timestamp()
    return False


@contextlib.contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"media directory: {error}") from error
