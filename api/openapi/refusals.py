"""The errors of a route: for each status the envelope of its dialect, as the dialect writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from api.errors import ANSWERS, answer_to
from api.openapi.headers import ANSWER_HEADERS, answer_headers
from imagequeue.dialects.dialect import Dialect
from imagequeue.domain import errors
from imagequeue.domain.errors import ImagequeueError

_SHOWN = {name.casefold(): name for name in ANSWER_HEADERS}
_FIRST_ERROR = 400


def error_model(dialect: Dialect) -> type[BaseModel]:
    """The model of a dialect's errors: the one that its routes document.

    Raises:
        TypeError: none of them does.
    """
    for route in dialect.routes:
        for status, model in route.responses.items():
            if status >= _FIRST_ERROR:
                return model
    raise TypeError(f"{dialect.name}: no route documents an error")


def refusals(
    dialect: Dialect, kinds: Iterable[type[ImagequeueError]], headers: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The answers to errors by their statuses; `headers` are those that each of them may have."""
    found: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(kinds):
        answer = answer_to(kind(), dialect)
        names = [_SHOWN[name] for name in answer.headers if name in _SHOWN]
        response = found.setdefault(str(answer.status_code), _response(dialect))
        title = ANSWERS[kind].title
        if title not in response["description"].split(", "):
            response["description"] = ", ".join(filter(None, (response["description"], title)))
        response["headers"] |= answer_headers([*names, *headers])
        example = {"summary": kind().message, "value": json.loads(bytes(answer.body))}
        response["content"]["application/json"]["examples"][kind.__name__] = example
    return found


def _response(dialect: Dialect) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{error_model(dialect).__name__}"}
    empty: dict[str, Any] = {}
    return {
        "description": "",
        "headers": {},
        "content": {"application/json": {"schema": schema, "examples": empty}},
    }


def named(names: Iterable[str]) -> list[type[ImagequeueError]]:
    """The error classes with these names."""
    return [getattr(errors, name) for name in names]
