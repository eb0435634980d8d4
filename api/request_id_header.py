"""`X-Request-Id` on every answer about a job of the client's own account (docs/design/contract.md, "Routes").

A route that accepts a job, or finds one of the client's account, calls `tag_request`. Every answer to that
request then has the header: a 202, a 409 and a 500 alike. A job of another account is never named.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def tag_request(request: Request, request_id: str) -> None:
    """Have the answer to a request name this job of the client's in `X-Request-Id`."""
    request.state.request_id = request_id


class RequestIdHeader:
    """Puts the header on answers. It is the outermost middleware, so it sees error answers too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and add the header to its answer."""

        async def named(message: Message) -> None:
            state: dict[str, Any] = scope.get("state", {})
            if message["type"] == "http.response.start" and "request_id" in state:
                MutableHeaders(raw=message["headers"])["X-Request-Id"] = state["request_id"]
            await send(message)

        await self._app(scope, receive, named)
