"""Reading a request's body: its size is bounded while it arrives, and JSON is taken strictly.

Large bodies wait on disk, however slowly they arrive and however many there are, until it is their turn to be
parsed and decoded.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.form import FORM, boundary_of, read_form
from api.json_body import json_object
from api.shares import served_account, shares_of
from imagequeue.dialects.dialect import BodyKind, SubmittedBody
from imagequeue.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType

_DRAIN_FACTOR = 2
_IN_MEMORY_BYTES = 256 * 1024
_LARGE = 32 * 1024
"""Bytes up to which the slowest body is read in less than the 20 ms that others may wait."""
_JSON = "application/json"
_TYPES: dict[BodyKind, str] = {"json": _JSON, "form": FORM}


@dataclass(frozen=True, slots=True)
class Content:
    """A body that was read to its end: in memory, or on disk above 256 KiB. Close it."""

    file: IO[bytes]
    size: int

    @property
    def is_large(self) -> bool:
        """Whether parsing it may be felt by every other request, so that it needs a thread."""
        return self.size > _LARGE

    def read(self) -> bytes:
        """All of it."""
        self.file.seek(0)
        return self.file.read()

    def json(self, *, once_each: bool = False) -> dict[str, Any]:
        """The body as a JSON object; `once_each` refuses a field that an object has twice.

        Raises:
            InvalidRequest: as `json_object`.
        """
        return json_object(self.read(), once_each=once_each)


Reader = Callable[[Content], SubmittedBody]


def reader_of(request: Request, kinds: Collection[BodyKind]) -> Reader:
    """How to read the body of a request, by what it says that it is.

    Raises:
        UnsupportedMediaType: it is of none of these kinds, or encoded.
        InvalidRequest: it is a form that does not say what stands between its parts.
    """
    given = request.headers.get("content-type", _JSON)
    kind = _kind(given.partition(";")[0].strip().casefold())
    if kind not in kinds:
        wanted = " or ".join(_TYPES[one] for one in sorted(kinds, reverse=True))
        raise UnsupportedMediaType(f"Content-Type must be {wanted}")
    if request.headers.get("content-encoding", "identity").casefold() != "identity":
        raise UnsupportedMediaType("Content-Encoding is not supported; send the body as it is")
    if kind == "json":
        return lambda content: SubmittedBody("json", content.json(once_each=True))
    boundary = boundary_of(given)
    return lambda content: read_form(content.read(), boundary)


def _kind(media_type: str) -> BodyKind | None:
    if media_type == _JSON or (media_type.startswith("application/") and media_type.endswith("+json")):
        return "json"
    return "form" if media_type == FORM else None


@asynccontextmanager
async def any_content(request: Request, most: int) -> AsyncGenerator[Content]:
    """The body of a request, whatever it says that it is, of at most `most` bytes.

    Raises:
        TooLarge: it is longer, whatever its headers say.
        TooManyRequests: it is large, and its account has its share of large bodies in this process already.
    """
    with ExitStack() as held:
        size, file = 0, held.enter_context(_spooled())
        async for chunk in _chunks(request, most):
            if size <= _LARGE < size + len(chunk):
                held.enter_context(shares_of(request).large_bodies.held(served_account()))
            size += len(chunk)
            file.write(chunk)  # to the page cache: no wait worth a thread
        yield Content(file, size)


def _spooled() -> IO[bytes]:
    return cast("IO[bytes]", SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))


async def _chunks(request: Request, most: int) -> AsyncGenerator[bytes]:
    """The chunks of a body of at most `most` bytes, chunked or not.

    What comes over the limit is read and dropped, up to as much again, because most clients only look at an
    answer once they have sent everything.

    Raises:
        TooLarge: it is longer.
    """
    expected = request.headers.get("content-length", "")
    announced = int(expected) if expected.isdecimal() else 0
    if announced > most * _DRAIN_FACTOR or (announced > most and "expect" in request.headers):
        raise TooLarge(_too_large(most))
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most * _DRAIN_FACTOR:
                break
            if size <= most:
                yield chunk
    except ClientDisconnect:
        raise InvalidRequest("The body broke off") from None
    if size > most:
        raise TooLarge(_too_large(most))


def _too_large(most: int) -> str:
    return f"The request body is larger than {most} bytes"
