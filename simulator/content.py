"""A request body, decoded: the fields of a JSON object or of a multipart form."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

MAX_FILE_BYTES = 32 * 1024 * 1024
"""Of one part of a form: more than the 20 MiB that imagequeue takes for an input image."""


class UnreadableBodyError(Exception):
    """The body is not what the route takes; the message says how."""


@dataclass(frozen=True, slots=True)
class Content:
    """The named fields of a body, and the files of a form by field name, in their order."""

    fields: dict[str, Any]
    files: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])


def read_json(headers: Headers, body: bytes) -> Content:
    """The fields of a JSON object; raises UnreadableBodyError."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnreadableBodyError("Content-Type must be application/json")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableBodyError("the body is not valid JSON") from error
    if not isinstance(value, dict):
        raise UnreadableBodyError("the body must be a JSON object")
    return Content(cast("dict[str, Any]", value))


async def read_form(headers: Headers, body: bytes) -> Content:
    """The fields and files of a multipart form; raises UnreadableBodyError, also for a repeated field."""
    if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnreadableBodyError("Content-Type must be multipart/form-data")
    try:
        form = await MultiPartParser(headers, _once(body), max_part_size=MAX_FILE_BYTES).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise UnreadableBodyError("the body is not a valid multipart form") from error
    content = Content({})
    for name, value in form.multi_items():
        if isinstance(value, str):
            if name in content.fields:
                raise UnreadableBodyError(f"{name}: given more than once")
            content.fields[name] = value
        else:
            content.files.setdefault(name, []).append(await value.read())
    await form.close()
    return content


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body
