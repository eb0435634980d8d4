"""Reading a request's body: its size is bounded while it arrives, and JSON is taken strictly.

Large bodies wait on disk, however slowly they arrive and however many there are, until it is their turn to be
parsed and decoded.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NoReturn, cast

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.form import FORM, boundary_of, read_form
from imagequeue.dialects.dialect import BodyKind, SubmittedBody
from imagequeue.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType

_DRAIN_FACTOR = 2
_LARGE = 256 * 1024
_JSON = "application/json"
_LONGEST_NAME = 100
"""Characters of a field's name that a message shows."""
_TYPES: dict[BodyKind, str] = {"json": _JSON, "form": FORM}


@dataclass(frozen=True, slots=True)
class Content:
    """A body that was read to its end: in memory, or on disk above 256 KiB. Close it."""

    file: IO[bytes]
    size: int

    @property
    def is_large(self) -> bool:
        """Whether parsing it would be felt by every other request: it holds images."""
        return self.size > _LARGE

    def read(self) -> bytes:
        """All of it."""
        self.file.seek(0)
        return self.file.read()

    def json(self, *, once_each: bool = False) -> dict[str, Any]:
        """The body as a JSON object; `once_each` refuses a field that an object has twice.

        Raises:
            InvalidRequest: it is not JSON, or not an object.
        """
        value = _parse(self.read(), _object if once_each else None)
        if not isinstance(value, dict):
            raise InvalidRequest("The body must be a JSON object")
        return cast("dict[str, Any]", value)


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
    """
    with cast("IO[bytes]", SpooledTemporaryFile(max_size=_LARGE)) as file:
        yield Content(file, await _read(request, most, file))


async def _read(request: Request, most: int, file: IO[bytes]) -> int:
    """Read a body of at most `most` bytes, chunked or not, into a file; its size.

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
                file.write(chunk)  # to the page cache: no wait worth a thread
    except ClientDisconnect:
        raise InvalidRequest("The body broke off") from None
    if size > most:
        raise TooLarge(_too_large(most))
    return size


def _too_large(most: int) -> str:
    return f"The request body is larger than {most} bytes"


def _parse(content: bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None) -> Any:
    try:
        text = content.decode("utf-8-sig")  # strictly: `loads` would take UTF-16, and half characters
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; one that has a field twice means two things, and readers differ in which one counts."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise InvalidRequest(f"{name[:_LONGEST_NAME]} was given more than once")
        made[name] = value
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
