"""Reading a request's body: its size is bounded while it arrives, and JSON is taken strictly."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn, cast

from fastapi import Request
from starlette.requests import ClientDisconnect

from imagequeue.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType

_DRAIN_FACTOR = 2
_LARGE = 256 * 1024


async def read_json(request: Request, most: int) -> dict[str, Any]:
    """Read a JSON object of at most `most` bytes.

    Raises:
        UnsupportedMediaType: the content type is not JSON, or the body is encoded.
        TooLarge: it is longer, whatever its headers say.
        InvalidRequest: it is not JSON, or not an object.
    """
    _require_json(request)
    content = await read_bytes(request, most)
    # Large bodies hold data URLs; parsing them takes long enough to be felt by every other request.
    value = await asyncio.to_thread(_parse, content) if len(content) > _LARGE else _parse(content)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object")
    return cast("dict[str, Any]", value)


async def read_bytes(request: Request, most: int) -> bytes:
    """Read a body of at most `most` bytes, chunked or not.

    What comes over the limit is read and dropped, up to as much again, because most clients only look at an
    answer once they have sent everything.

    Raises:
        TooLarge: it is longer.
    """
    expected = request.headers.get("content-length", "")
    announced = int(expected) if expected.isdecimal() else 0
    if announced > most * _DRAIN_FACTOR or (announced > most and "expect" in request.headers):
        raise TooLarge(_too_large(most))
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most * _DRAIN_FACTOR:
                break
            if size <= most:
                chunks.append(chunk)
    except ClientDisconnect:
        raise InvalidRequest("The body broke off") from None
    if size > most:
        raise TooLarge(_too_large(most))
    return b"".join(chunks)


def _too_large(most: int) -> str:
    return f"The request body is larger than {most} bytes"


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().casefold()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise UnsupportedMediaType("Content-Type must be application/json")
    if request.headers.get("content-encoding", "identity").casefold() != "identity":
        raise UnsupportedMediaType("Content-Encoding is not supported; send the body as it is")


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
