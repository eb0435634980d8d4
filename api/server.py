"""The API process: uvicorn around the app, with a heartbeat and a look at the catalog beside it."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.edge.limits import EdgeLimits
from api.edge.protocol import edge_protocol
from imagequeue.lifecycle.operate import reload_catalog
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.sweep.heartbeat import beating, this_process
from imagequeue.loops import Loop
from imagequeue.runtime import Runtime
from imagequeue.signals import on_hangup, on_termination

MOST_FILES = 65_536
"""Open files of a process, if the machine lets it have them: each client that waits is one."""


class Server(uvicorn.Server):
    """Ends streams before it waits for the requests that are still being served."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take no signals: `serve` does.

        uvicorn would raise them again after a clean end, and the process would die by its SIGTERM.
        """
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end streams, let the rest finish."""
        self._app.state.watch.end()
        await super().shutdown(sockets)


def serve(runtime: Runtime, listener: socket.socket, *, stop_seconds: int) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT.

    Requests that are being served then get `stop_seconds`. No access log: its URLs would hold media tokens.
    """
    app = create_app(runtime, limits=EdgeLimits.of(runtime.settings, raise_file_limit()))
    build_routes(app)
    config = uvicorn.Config(
        app,
        http=edge_protocol(app.state.edge),
        ws="none",
        proxy_headers=False,  # `Forwarded` reads them
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=stop_seconds,
        backlog=2048,
    )
    server, catalog, stopping = Server(config, app), CatalogWatch(runtime), threading.Event()
    # uvicorn asks its own flags ten times a second; a second SIGINT ends it without waiting for requests.
    on_termination(lambda number: server.handle_exit(number, None))
    on_hangup(lambda _: catalog.hung_up.set())
    looking = Loop.every(reload_catalog.INTERVAL_SECONDS, "catalog", catalog.run_once, stopping)
    with beating(runtime, this_process("api")), looking.running():
        server.run(sockets=[listener])


def build_routes(app: FastAPI) -> None:
    """Build the routes. The framework would with the first request, and let everybody wait for it."""
    for route in app.router.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})


def raise_file_limit() -> int:
    """Let this process have as many open files as it may: the usual limit of 1024 is less than may wait.

    Returns how many that are, or `MOST_FILES` where there is no limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
