"""Bytes that wait: in memory while they are few, then in a temporary file, and in memory again without one.

The answer of an upstream is paid for when its first byte arrives. So a temporary directory that is full, or
that may not be written, must not lose it: what the file does not take stays in memory, which the sender's
limit on the size of an answer bounds. Meanwhile `temporary_free_bytes` tells the worker to take no new call.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from types import TracebackType
from typing import IO, Self

import structlog

log = structlog.get_logger()

_PROBE_BYTES = bytes(4096)
"""A block of most file systems: a full one has no room for it."""


class Spool:
    """A file that is written to its end and then read; the caller closes it.

    `in_memory_bytes`: with more than these it moves into a temporary file.
    """

    def __init__(self, in_memory_bytes: int) -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._in_memory_bytes: float = in_memory_bytes
        self.on_disk = False

    def write(self, content: bytes) -> int:
        """Write at the end.

        Raises:
            OSError: the temporary file takes no more and cannot be read either; what it held is lost.
        """
        if self.on_disk:
            self._write_to_disk(content)
        else:
            self._file.write(content)
            if self._file.tell() > self._in_memory_bytes:
                self._move_to_disk()
        return len(content)

    def read(self, size: int = -1) -> bytes:
        """Read on from the position; everything that is left, unless `size` says less."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Change the position; where it is now."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position in bytes."""
        return self._file.tell()

    def close(self) -> None:
        """Free the memory or the disk."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _move_to_disk(self) -> None:
        memory, disk = self._file, None
        memory.seek(0)
        try:
            # Unbuffered, so that a write fails here and not when the file is read or closed.
            disk = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed by `close`
            _write_all(disk, memory.read())
        except OSError as error:
            if disk is not None:
                disk.close()
            self._stay_in_memory(error)
            return
        memory.close()
        self._file, self.on_disk = disk, True

    def _write_to_disk(self, content: bytes) -> None:
        end = self._file.seek(0, io.SEEK_END)
        try:
            _write_all(self._file, content)
        except OSError as error:
            disk, memory = self._file, io.BytesIO()
            disk.seek(0)
            memory.write(_read_all(disk, end))
            memory.write(content)
            disk.close()
            self._file, self.on_disk = memory, False
            self._stay_in_memory(error)

    def _stay_in_memory(self, error: OSError) -> None:
        log.warning("spooled_in_memory", reason=str(error))
        self._in_memory_bytes = float("inf")
        self._file.seek(0, io.SEEK_END)


def temporary_free_bytes() -> int:
    """Write a block into the directory of temporary files; the free space there, in bytes.

    Raises:
        OSError: nothing can be written there.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        _write_all(file, _PROBE_BYTES)
    return shutil.disk_usage(tempfile.gettempdir()).free


def _write_all(file: IO[bytes], content: bytes) -> None:
    """Write to an unbuffered file, which may take a part at a time."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _read_all(file: IO[bytes], size: int) -> bytes:
    """Read so many bytes from an unbuffered file, which may give a part at a time."""
    read = bytearray()
    while len(read) < size and (part := file.read(size - len(read))):
        read += part
    return bytes(read)
