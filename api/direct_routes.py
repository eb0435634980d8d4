"""Routes that read their requests themselves, served without the framework's layers.

The framework solves and validates what an endpoint asks for, and lets each request through a dozen layers, of
which most do nothing for it. A submit and a poll are asked for thousands of times a second, so their routes
are `DirectRoute`s: `DirectServing` stands before the framework and does all that the layers would do for one.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answer_headers import put_headers
from api.direct_request import DirectRequest
from api.errors import answer_for, log_unexpected
from api.route_index import RouteIndex
from api.shares import holding_shares


class DirectRoute(APIRoute):
    """A route whose endpoint takes the request, and parameters of the path as text; nothing else."""

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[Response]], **given: Any) -> None:
        super().__init__(path, endpoint, **given)
        self._serve = endpoint
        self._names = [name for name in inspect.signature(endpoint).parameters if name != "request"]
        self.app = self._as_app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the framework's; the parameters of a path are text."""
        if scope["type"] != "http" or scope.get("root_path"):
            return super().matches(scope)
        found = self.path_regex.match(scope["path"])
        if found is None:
            return Match.NONE, {}
        match = Match.FULL if scope["method"] in self.methods else Match.PARTIAL
        return match, {"endpoint": self.endpoint, "path_params": found.groupdict(), "route": self}

    async def answer(self, request: Request) -> Response:
        """What the endpoint answers."""
        parameters = request.scope["path_params"]
        return await self._serve(request, **{name: parameters[name] for name in self._names})

    async def _as_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve where the framework does, as for a HEAD. Its layers answer what the endpoint raises."""
        response = await self.answer(Request(scope, receive, send))
        await response(scope, receive, send)


class DirectServing:
    """Serves the direct routes; every other request goes to the framework."""

    def __init__(self, app: ASGIApp, index: RouteIndex) -> None:
        self._app = app
        self._index = index

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        route = self._index.choose(scope, DirectRoute)
        if route is None:
            await self._app(scope, receive, send)
            return
        with holding_shares(scope):
            await _serve(route, DirectRequest(scope, receive, send), send)


async def _serve(route: DirectRoute, request: Request, send: Send) -> None:
    """Answer with what the route does, or with what it raises."""
    started = False

    async def send_answer(message: Message) -> None:
        nonlocal started
        if message["type"] == "http.response.start":
            started = True
            put_headers(request.scope, message)
        await send(message)

    try:
        response = await route.answer(request)
        await response(request.scope, request.receive, send_answer)
    except Exception as error:  # noqa: BLE001  # what nobody expected is answered, too
        if started:
            log_unexpected(error)
            return
        response = answer_for(request, error)
        error.__traceback__ = None  # a bulk call's future keeps the error, but not what its frames hold
    else:
        return
    await response(request.scope, request.receive, send_answer)
