"""Reading a request's body: its size is bounded while it arrives, and JSON is taken strictly.

Large bodies wait on disk, however slowly they arrive and however many there are, until it is their turn to be
parsed and decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self, cast

from fastapi import Request

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


class Content:
    """A body that was read to its end: in memory, or on disk above 256 KiB. Close it, as a context does."""

    __slots__ = ("_held", "_whole", "size")

    def __init__(self, whole: bytes | IO[bytes], size: int, held: ExitStack | None = None) -> None:
        self._whole = whole
        self._held = held
        self.size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.close()

    @property
    def is_large(self) -> bool:
        """Whether parsing it may be felt by every other request, so that it needs a thread."""
        return self.size > _LARGE

    def read(self) -> bytes:
        """All of it."""
        if isinstance(self._whole, bytes):
            return self._whole
        self._whole.seek(0)
        return self._whole.read()

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


async def any_content(request: Request, most: int) -> Content:
    """The body of a request, whatever it says that it is, of at most `most` bytes; the caller closes it.

    A small body that has come whole, as most do, needs no file.

    Raises:
        TooLarge: it is longer, whatever its headers say.
        TooManyRequests: it is large, and its account has its share of large bodies in this process already.
        InvalidRequest: it broke off.
    """
    _refuse_announced(request, most)
    chunk, more = await _received(request)
    if not more and len(chunk) <= min(_LARGE, most):
        return Content(chunk, len(chunk))
    return await _spooled_content(request, most, chunk, more=more)


async def _spooled_content(request: Request, most: int, chunk: bytes, *, more: bool) -> Content:
    """The body that begins with `chunk`.

    What comes over the limit is read and dropped, up to as much again, because most clients only look at an
    answer once they have sent everything.
    """
    with ExitStack() as held:
        size, file = 0, held.enter_context(_spooled())
        while True:
            before, size = size, size + len(chunk)
            if before <= _LARGE < size <= most:
                held.enter_context(shares_of(request).large_bodies.held(served_account()))
            if size <= most:
                file.write(chunk)  # to the page cache: no wait worth a thread
            if not more or size > most * _DRAIN_FACTOR:
                break
            chunk, more = await _received(request)
        if size > most:
            raise TooLarge(_too_large(most))
        return Content(file, size, held.pop_all())


def _spooled() -> IO[bytes]:
    return cast("IO[bytes]", SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))


def _refuse_announced(request: Request, most: int) -> None:
    """Refuse a body that says that it is too long, unless it shall be read and dropped."""
    expected = request.headers.get("content-length", "")
    announced = int(expected) if expected.isdecimal() else 0
    if announced > most * _DRAIN_FACTOR or (announced > most and "expect" in request.headers):
        raise TooLarge(_too_large(most))


async def _received(request: Request) -> tuple[bytes, bool]:
    """The next part of a body, and whether more comes."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise InvalidRequest("The body broke off")
    return message.get("body", b""), message.get("more_body", False)


def _too_large(most: int) -> str:
    return f"The request body is larger than {most} bytes"
