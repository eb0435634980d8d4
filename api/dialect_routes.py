"""Mounts the dialects that are there: one route of the app for each of theirs, in the registry's order."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

from api.direct_routes import DirectRoute
from api.documented import COUNTED_VERBS, FACTS
from api.job_answers import cancel_job, show_job
from api.models import show_models
from api.services import ApiServices
from api.submit import submit_job
from imagequeue.dialects.dialect import ClientRequest, Dialect, DialectRoute, Verb
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
_SAME = "same_"


def mount(app: FastAPI, dialects: Dialects) -> None:
    """Add every route of the dialects behind those that the app has already."""
    services: ApiServices = app.state.services
    origin = services.runtime.settings.public_origin
    for dialect, route in dialects.routes():
        app.router.add_api_route(
            mounted_path(route),
            _endpoint(dialect, route, origin),
            methods=[route.method],
            status_code=next(iter(route.responses)),
            response_model=None,
            tags=[dialect.title],
            summary=route.summary,
            description=route.description,
            name=f"{dialect.name}_{route.verb}",
            openapi_extra={
                FACTS: {"counted": route.verb in COUNTED_VERBS},
                "parameters": _path_parameters(route),
            },
            route_class_override=DirectRoute,
        )


def mounted_path(route: DialectRoute) -> str:
    """The path as the framework takes it, which wants another name where one stands twice."""
    path = route.path
    for name in set(route.parameters):
        first, *others = path.split(f"{{{name}}}")
        path = f"{{{name}}}".join([first, f"{{{_SAME}{name}}}".join(others)]) if others else first
    return path


def _endpoint(dialect: Dialect, route: DialectRoute, origin: str) -> Callable[[Request], Awaitable[Response]]:
    serve = SERVED[route.verb]

    async def endpoint(request: Request) -> Response:
        return await serve(request, dialect, _asked(request, route, origin))

    return endpoint


def _asked(request: Request, route: DialectRoute, origin: str) -> ClientRequest:
    parameters = route.match(request.scope["path"])
    if parameters is None:
        raise NotFound(f"This path names one thing twice, and differently: use {route.path}")
    return ClientRequest(
        route=route,
        parameters=parameters,
        query=dict(request.query_params) if request.scope["query_string"] else {},
        headers={name: value for name, value in request.headers.items() if name not in _KEYS},
        origin=origin,
    )


def documented_path(route: DialectRoute) -> str:
    """The path as it stands in the OpenAPI document."""
    return mounted_path(route).replace(":path}", "}")


def _path_parameters(route: DialectRoute) -> list[dict[str, Any]]:
    """What the framework cannot see: the endpoint takes the request as it is."""
    return [
        {"name": name, "in": "path", "required": True, "description": _meaning(name)}
        for name in _BRACES.findall(documented_path(route))
    ]


def _meaning(name: str) -> str:
    """What a parameter is."""
    if name.startswith(_SAME):
        return f"The same as `{name.removeprefix(_SAME)}`."
    return "The id of a job." if name == "request_id" else "The id or an alias of a model."
