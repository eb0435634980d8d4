"""Small JSON bodies of the routes that are no dialect's, read by a model that names what is wrong."""

from __future__ import annotations

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.body import any_content, reader_of
from imagequeue.domain.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)

MOST_BYTES = 64 * 1024
"""A URL has 2 KiB at most, and nothing else in these bodies is long."""


async def read_model(request: Request, model: type[M]) -> M:
    """Read the body of a request as `model`; an empty body is an empty object.

    Raises:
        InvalidRequest: names the field and what is wrong with it.
        TooLarge: it has more than 64 KiB.
        UnsupportedMediaType: it is not JSON.
    """
    reader = reader_of(request, ["json"])
    async with any_content(request, MOST_BYTES) as content:
        given = dict(reader(content).fields) if content.size else {}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(map(str, first["loc"]))[:100]
        unknown = first["type"] == "extra_forbidden"
        text = f"Unknown field '{name}'" if unknown else f"{name}: {first['msg']}"
        raise InvalidRequest(text) from None
