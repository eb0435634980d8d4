"""Requests that wait for their slot: what is large waits on disk.

A call with input images is built before its slot comes, and then waits, with dozens of others, while its
bytes would fill the memory of the process: 64 edits of up to 20 MiB, each as an image and as a body.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import IO

import httpx

IN_MEMORY_BYTES = 256 * 1024
BUILDING = threading.BoundedSemaphore(4)
"""So many requests with input images may be in memory at a time while they are built."""
_CHUNK_BYTES = 64 * 1024


class FileBody(httpx.SyncByteStream):
    """A body that is read from a file while it is sent."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            yield chunk


@contextmanager
def spooled_request(build: Callable[[], httpx.Request], *, large: bool) -> Generator[httpx.Request]:
    """What `build` makes, its body on disk if it is large, until the context ends.

    `large`: `build` loads input images, so only a few such run at a time. Others must not wait behind them:
    a storage that is slow would make calls late that need nothing of it.
    """
    with BUILDING if large else nullcontext():
        request = build()
        body = request.read()
        file = _file(body) if len(body) > IN_MEMORY_BYTES else None
        if file is not None:
            headers = request.headers
            request = httpx.Request(request.method, request.url, headers=headers, stream=FileBody(file))
        del body
    with file or nullcontext():
        yield request


def _file(body: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    file.write(body)
    return file
