"""Small JSON bodies of the routes that are no dialect's, read by a model that names what is wrong."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request

from api.body import any_content, reader_of
from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.dialects.fields import BodyFields, validated
from imagequeue.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType

M = TypeVar("M", bound=BodyFields)

MOST_BYTES = 64 * 1024
"""A URL has 2 KiB at most, and nothing else in these bodies is long."""

UNREADABLE = (InvalidRequest, TooLarge, UnsupportedMediaType)
"""What `read_model` raises, for the documentation of a route."""


async def read_model(request: Request, model: type[M]) -> M:
    """Read the body of a request as `model`; an empty body is an empty object.

    Raises:
        InvalidRequest: names the field and what is wrong with it.
        TooLarge: it has more than 64 KiB.
        UnsupportedMediaType: it is not JSON.
    """
    return (await read_model_and_bytes(request, model))[0]


async def read_model_and_bytes(request: Request, model: type[M]) -> tuple[M, bytes]:
    """As `read_model`, with the bytes that it was read from."""
    reader = reader_of(request, ["json"])
    with await any_content(request, MOST_BYTES) as content:
        body = reader(content) if content.size else SubmittedBody("json", {})
        written = content.read()
    return validated(model, body), written


def json_body(model: type[BodyFields], *, required: bool = True) -> dict[str, Any]:
    """The body that `read_model` reads, for the documentation of a route; `model` has no parts."""
    return {"required": required, "content": {"application/json": {"schema": model.model_json_schema()}}}
