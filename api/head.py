"""Answers HEAD as GET without the body, for every route that there is."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Serves a HEAD by the route of its GET. What the route would send after the headers is not made."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._head({**scope, "method": "GET"}, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve until the headers are there; an event stream would never end by itself."""
        answered = False

        async def send_head(message: Message) -> None:
            nonlocal answered
            if answered or message["type"] != "http.response.start":
                return
            answered = True
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            serving.cancel()

        serving = asyncio.ensure_future(self._app(scope, receive, send_head))
        try:
            await serving
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not answered or (task is not None and task.cancelling()):
                raise
