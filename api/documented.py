"""What a route of our own says about itself for the documentation of the API.

`api/openapi` makes the rest of it: the envelope of each error, the headers, and how a key is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi import Request
from pydantic import BaseModel

from imagequeue.dialects.dialect import Verb
from imagequeue.domain.errors import (
    Forbidden,
    ImagequeueError,
    KeyRevoked,
    NotFound,
    OperatorOnly,
    ServiceUnavailable,
    TooManyRequests,
    Unauthenticated,
)

FACTS = "x-imagequeue"
"""Where a route keeps what it says about itself; the document that clients see does not have it."""

KEYED = (Unauthenticated, KeyRevoked)
OPERATORS = (Unauthenticated, Forbidden, OperatorOnly)
RATE = ("RateLimit-Policy", "RateLimit")
"""Headers of every answer of a counted route to a key that has a limit."""
COUNTED_VERBS: frozenset[Verb] = frozenset({"submit", "result"})
"""Verbs of dialects that count against the limit of a key. Polls of a status do not, nor does a cancel."""
ALWAYS = (ImagequeueError, ServiceUnavailable, TooManyRequests)
"""What may happen on every route: a fault of ours, no database, an address that asks for too much."""


def documented(  # noqa: PLR0913  # what a route can say
    answer: type[BaseModel] | Mapping[str, Any],
    *refusals: type[ImagequeueError],
    status: int = 200,
    needs: Sequence[type[ImagequeueError]] = KEYED,
    counted: bool = True,
    always: Sequence[type[ImagequeueError]] = ALWAYS,
    parameters: Sequence[Mapping[str, Any]] = (),
    body: Mapping[str, Any] | None = None,
    headers: Sequence[str] = (),
    more: Mapping[int, str | type[BaseModel]] | None = None,
) -> dict[str, Any]:
    """The arguments of a route.

    Args:
        answer: the model of its JSON, or the content of an answer that is none.
        refusals: the errors that it raises, but for those that every route may.
        status: the usual status.
        needs: the errors of its keys; none where no key is needed.
        counted: whether a request counts against the limit of its key. Polls of one status do not, nor what
            ends or pauses what costs, nor what needs no key or an operator's.
        always: the errors that have nothing to do with the request.
        parameters: headers and query parameters that its function does not name.
        body: the request body.
        headers: the names of the headers that its answer may have.
        more: other statuses: what they mean where they have no body, else the model of its JSON.
    """
    told: dict[str, Any] = {"model": answer} if isinstance(answer, type) else {"content": dict(answer)}
    counts = counted and needs is KEYED
    facts = {
        "refusals": [one.__name__ for one in (*needs, *refusals, *always)],
        "key": bool(needs),
        "headers": {str(status): [*headers, *(RATE if counts else ())]},
        "counted": counts,
    }
    extra: dict[str, Any] = {FACTS: facts, "parameters": [dict(one) for one in parameters]}
    if body is not None:
        extra["requestBody"] = dict(body)
    others = {number: _other(one) for number, one in (more or {}).items()}
    return {"responses": {status: told, **others}, "openapi_extra": extra}


def _other(told: str | type[BaseModel]) -> dict[str, Any]:
    return {"description": told} if isinstance(told, str) else {"model": told}


def is_counted(request: Request) -> bool:
    """Whether the route that serves a request counts it against the limit of its key."""
    return request.scope["route"].openapi_extra[FACTS]["counted"]


def about_a_job(answer: type[BaseModel], *refusals: type[ImagequeueError], **more: Any) -> dict[str, Any]:
    """The arguments of a route about one job of the client's account."""
    headers = ("X-Request-Id", *more.pop("headers", ()))
    return documented(answer, NotFound, *refusals, headers=headers, **more)


def query_parameters(model: type[BaseModel], descriptions: Mapping[str, str]) -> list[dict[str, Any]]:
    """The query parameters that a model reads: none is required, and a list is written with commas."""
    schema = model.model_json_schema()
    parts: dict[str, Any] = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "description": descriptions[name],
            "explode": False,
            "schema": _without_null(found, parts),
        }
        for name, found in schema["properties"].items()
    ]


def _without_null(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter is there or is left out; it cannot be null."""
    kinds = cast("list[dict[str, Any]]", schema.get("anyOf", [schema]))
    kind = next(one for one in kinds if one.get("type") != "null")
    items = cast("dict[str, Any]", kind.get("items", {}))
    if "$ref" in items:
        kind = {**kind, "items": parts[items["$ref"].rpartition("/")[2]]}
    return {name: value for name, value in kind.items() if name not in {"default", "title"}}
