"""Request bodies: JSON is written in pieces, and what is large waits on disk for the start of its call.

A call is built before its planned start, and then waits beside dozens of others. With input images in memory
64 such calls could need 64 times 20 MiB, for the images and once more for the bodies.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import IO, Any

import httpx

from imagequeue.domain.json_pieces import compact_json

IN_MEMORY_BYTES = 256 * 1024
"""A larger body is written to disk. One without input images is hardly ever larger: it is a prompt."""
BUILDING = threading.BoundedSemaphore(4)
"""At most four requests with input images are built at a time: each is in memory while it is built."""
_CHUNK_BYTES = 64 * 1024
"""How much of a body on disk is read, and sent, at a time."""


def json_request(url: str, headers: Mapping[str, str], fields: Mapping[str, Any]) -> httpx.Request:
    """A POST of JSON. The body is written in pieces, because it may hold images as text.

    Raises:
        ValueError: a field has a number or half a character that no JSON has.
    """
    content = b"".join(compact_json(fields))
    return httpx.Request(
        "POST", url, headers={**headers, "Content-Type": "application/json"}, content=content
    )


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
    """What `build` makes, with a large body on disk until the context ends.

    `large` says that `build` loads input images; only a few of those run at a time. A request without input
    images never waits for them, because a slow storage must not delay calls that need nothing from it.
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
    try:
        file.write(body)
        file.flush()  # a full disk is found here, and not while the body is sent
    except OSError:
        with contextlib.suppress(OSError):
            file.close()
        raise
    return file
