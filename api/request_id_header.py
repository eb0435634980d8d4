"""`X-Request-Id` on every answer about a job that its asker owns (docs/design/contract.md, "Routes").

Whoever accepts a job, or finds one that is the asker's own, says so here. Every answer to that request then
names the job, whatever becomes of it: a 202, a 409 and a 500 alike. A job of somebody else is never named.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def tag_request(request: Request, request_id: str) -> None:
    """Say which of the asker's own jobs a request is about."""
    request.state.request_id = request_id


class RequestIdHeader:
    """Puts the header on answers. It stands outside of everything that answers, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; name the job on the way out."""

        async def named(message: Message) -> None:
            state: dict[str, Any] = scope.get("state", {})
            if message["type"] == "http.response.start" and "request_id" in state:
                MutableHeaders(raw=message["headers"])["X-Request-Id"] = state["request_id"]
            await send(message)

        await self._app(scope, receive, named)
