"""The API on the edge, without a database, and small apps on it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.edge.addresses import TrustedProxies
from api.edge.limits import EdgeLimits
from api.edge.protocol import edge_protocol
from api.edge.shared import Edge
from imagequeue.store.database import open_engine
from tests.builders import runtime
from tests.servers import ServerThread

NO_DATABASE = "postgresql+psycopg://127.0.0.1:1/none"
"""Nothing listens there. What a client without a key asks for needs no database."""


@contextmanager
def api_without_database(limits: EdgeLimits, folder: Path, **settings: Any) -> Generator[ServerThread]:
    """The whole API."""
    engine = open_engine(NO_DATABASE, pool_size=1, name="tests")
    own = runtime(engine, NO_DATABASE, storage_url=f"file://{folder}/media", **settings)
    app = create_app(own, limits=limits)
    try:
        with ServerThread(app, http=edge_protocol(app.state.edge)) as server:
            yield server
    finally:
        own.redis.close()
        engine.dispose()


@contextmanager
def on_edge(
    app: ASGIApp, limits: EdgeLimits | None = None, proxies: str = ""
) -> Generator[tuple[ServerThread, Edge]]:
    """An app of a test's own."""
    edge = Edge(limits or EdgeLimits(), TrustedProxies.parse(proxies), plain)
    with ServerThread(app, http=edge_protocol(edge)) as server:
        yield server, edge


def plain(path: str, status: int, title: str, message: str) -> tuple[str, str]:
    return "text/plain", f"{path} {status} {title}: {message}"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Say what the request was: method, path, length of the body, names of the header fields."""
    if scope["type"] != "http":
        return
    request = Request(scope, receive)
    body = await request.body()
    names = ",".join(sorted({name.decode("latin-1") for name, _ in scope["headers"]}))
    await Response(f"{request.method} {request.url.path} {len(body)} {names}")(scope, receive, send)


class Held:
    """Holds requests until `release`, from then on it passes them to an app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._go_on = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.requests = 0
        """How many it has been given."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._loop = asyncio.get_running_loop()
            self.requests += 1
            await self._go_on.wait()
            await self._app(scope, receive, send)

    def release(self) -> None:
        assert self._loop is not None, "there was no request"
        self._loop.call_soon_threadsafe(self._go_on.set)
