"""The OpenAPI document: the framework lists the routes, and this says what each takes and answers.

The document is made when it is first asked for. Errors are written by the dialect of the path, headers and
keys are the same for all, and what a dialect documents about its routes comes from the dialect. A route of
our own says what it answers with `documented()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.documented import FACTS, RATE
from api.openapi.dialects import bodies_of, models_of, operation
from api.openapi.headers import ANSWER_HEADERS, SECURITY, SECURITY_SCHEMES, answer_headers
from api.openapi.refusals import named, refusals
from imagequeue.dialects.dialect import Dialect, DialectRoute
from imagequeue.dialects.registry import Dialects

_SCHEMAS = "#/components/schemas/{model}"
_FRAMEWORK_ERRORS = {"HTTPValidationError", "ValidationError"}
"""Schemas of answers that this service never gives."""

Operation = dict[str, Any]


def install(app: FastAPI, dialects: Dialects, path_of: Callable[[DialectRoute], str]) -> None:
    """Let the app answer with the document; `path_of` is how a dialect's path stands in it."""
    made: list[dict[str, Any]] = []

    def document() -> dict[str, Any]:
        if not made:
            made.append(_document(app, dialects, path_of))
        return made[0]

    app.openapi = document


def _document(app: FastAPI, dialects: Dialects, path_of: Callable[[DialectRoute], str]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=app.servers or None,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {}) | _schemas(dialects)
    components["schemas"] = {name: one for name, one in schemas.items() if name not in _FRAMEWORK_ERRORS}
    components["headers"] = {name: dict(header) for name, header in ANSWER_HEADERS.items()}
    components["securitySchemes"] = {name: dict(scheme) for name, scheme in SECURITY_SCHEMES.items()}
    document["security"] = SECURITY
    _complete_all(document, dialects, path_of)
    return document


def _complete_all(
    document: dict[str, Any], dialects: Dialects, path_of: Callable[[DialectRoute], str]
) -> None:
    spoken = {
        (path_of(route), route.method.lower()): operation(dialect, route)
        for dialect, route in dialects.routes()
    }
    for path, method, found in _operations(document):
        facts = found.pop(FACTS, {"refusals": [], "key": True, "headers": {}, "counted": False})
        if told := spoken.get((path, method)):
            more = [*found.get("parameters", []), *told.pop("parameters", [])]
            found.update(told, parameters=more)
        else:
            _complete(found, facts, dialects.at(path))
        for parameter in found.get("parameters", []):
            if parameter["in"] == "path":
                parameter["schema"] = {"type": "string", "minLength": 1}


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document["paths"].items():
        for method, found in item.items():
            yield path, method, found


def _complete(found: Operation, facts: dict[str, Any], dialect: Dialect) -> None:
    """Add the errors, the headers and the keys of a route of our own."""
    responses: dict[str, Any] = found["responses"]
    responses.pop("422", None)  # the framework's own answer to a wrong parameter, which no route gives
    headers: dict[str, list[str]] = facts["headers"]
    for status, names in headers.items():
        responses[status]["headers"] = answer_headers(names)
    job = ["X-Request-Id"] if any("X-Request-Id" in names for names in headers.values()) else []
    responses |= refusals(dialect, named(facts["refusals"]), [*job, *(RATE if facts["counted"] else ())])
    if not facts["key"]:
        found["security"] = []


def _schemas(dialects: Dialects) -> dict[str, Any]:
    """The schemas of all models of the dialects by their names."""
    written: JsonSchemaMode = "serialization"
    read: JsonSchemaMode = "validation"
    given: set[tuple[type[BaseModel], JsonSchemaMode]] = set()
    for dialect in dialects:
        given |= {(model, written) for model in models_of(dialect)}
        given |= {(model, read) for model in bodies_of(dialect)}
    ordered = sorted(given, key=lambda one: one[0].__name__)
    return models_json_schema(ordered, ref_template=_SCHEMAS)[1].get("$defs", {})
