"""Mounts the dialects that are there: one route of the app for each of theirs, in the registry's order."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from api.form import FORM
from api.job_answers import cancel_job, show_job
from api.models import show_models
from api.services import services_of
from api.submit import submit_job
from imagequeue.dialects.dialect import BodyKind, ClientRequest, Dialect, DialectRoute, Verb
from imagequeue.dialects.registry import Dialects
from imagequeue.domain.errors import NotFound

Serve = Callable[[Request, Dialect, ClientRequest], Awaitable[Response]]

SERVED: Mapping[Verb, Serve] = {
    "submit": submit_job,
    "status": show_job,
    "result": show_job,
    "cancel": cancel_job,
    "models": show_models,
}

_BRACES = re.compile(r"\{([^}]+)\}")
_KEYS = frozenset({"authorization", "api-key", "ocp-apim-subscription-key", "cookie"})
_TYPES: Mapping[BodyKind, str] = {"json": "application/json", "form": FORM}


def mount(app: FastAPI, dialects: Dialects) -> None:
    """Add every route of the dialects behind those that the app has already."""
    for dialect, route in dialects.routes():
        documented: dict[int | str, dict[str, Any]] = {
            status: {"model": model} for status, model in route.responses.items()
        }
        app.add_api_route(
            mounted_path(route),
            _endpoint(dialect, route),
            methods=[route.method],
            status_code=next(iter(route.responses)),
            response_model=None,
            responses=documented,
            tags=[dialect.title],
            summary=route.summary,
            description=route.description,
            name=f"{dialect.name}_{route.verb}",
            openapi_extra=_documented(route),
        )


def mounted_path(route: DialectRoute) -> str:
    """The path as the framework takes it, which wants another name where one stands twice."""
    path = route.path
    for name in set(route.parameters):
        first, *others = path.split(f"{{{name}}}")
        path = f"{{{name}}}".join([first, f"{{same_{name}}}".join(others)]) if others else first
    return path


def _endpoint(dialect: Dialect, route: DialectRoute) -> Callable[[Request], Awaitable[Response]]:
    serve = SERVED[route.verb]

    async def endpoint(request: Request) -> Response:
        return await serve(request, dialect, _asked(request, route))

    return endpoint


def _asked(request: Request, route: DialectRoute) -> ClientRequest:
    parameters = route.match(request.scope["path"])
    if parameters is None:
        raise NotFound(f"This path names one thing twice, and differently: use {route.path}")
    return ClientRequest(
        route=route,
        parameters=parameters,
        query=dict(request.query_params),
        headers={name: value for name, value in request.headers.items() if name not in _KEYS},
        origin=services_of(request).runtime.settings.public_origin,
    )


def _documented(route: DialectRoute) -> dict[str, Any]:
    """What the framework cannot see: the endpoint takes the request as it is."""
    names = [name.partition(":")[0] for name in _BRACES.findall(mounted_path(route))]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if not route.bodies:
        return {"parameters": parameters}
    content = {
        _TYPES[kind]: {"schema": {"anyOf": [_schema(model) for model in models]}}
        for kind, models in route.bodies.items()
    }
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def _schema(model: type[BaseModel]) -> Any:
    """The schema of a body without references: those of a body lead nowhere in the whole document."""
    schema = model.model_json_schema()
    parts: dict[str, Any] = schema.pop("$defs", {})
    return _whole(schema, parts)


def _whole(schema: Any, parts: Mapping[str, Any]) -> Any:
    """A schema with its parts in the place of their references. No body contains itself."""
    match schema:
        case {"$ref": str(reference), **more}:
            return _whole({**parts[reference.rpartition("/")[2]], **more}, parts)
        case dict():
            fields = cast("dict[str, Any]", schema)
            return {name: _whole(value, parts) for name, value in fields.items() if name != "discriminator"}
        case list():
            return [_whole(value, parts) for value in cast("list[Any]", schema)]
        case _:
            return schema
