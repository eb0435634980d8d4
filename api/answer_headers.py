"""Headers that every answer to a request has, whoever writes it: a 202, a 409 and a 500 alike.

`X-Request-Id` is on every answer about a job of the client's own account (docs/design/contract.md, "Routes"):
a route that accepts a job, or finds one of the client's account, calls `tag_request`. A job of another
account is never named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ADDED = "answer_headers"


def tag_request(request: Request, request_id: str) -> None:
    """Have the answer to a request name this job of the client's in `X-Request-Id`."""
    add_headers(request, {"X-Request-Id": request_id})


def add_headers(request: Request, headers: Mapping[str, str]) -> None:
    """Have the answer to a request carry these headers."""
    state: dict[str, Any] = request.scope.setdefault("state", {})
    state[_ADDED] = {**state.get(_ADDED, {}), **headers}


def put_headers(scope: Scope, start: Message) -> None:
    """Put the headers of a request's answer on the message with which the answer starts."""
    added: Mapping[str, str] = scope.get("state", {}).get(_ADDED, {})
    if added:
        MutableHeaders(raw=start["headers"]).update(added)


class AnswerHeaders:
    """Puts the headers on answers. It is outside of what writes error answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and add the headers to its answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                put_headers(scope, message)
            await send(message)

        await self._app(scope, receive, with_headers)
