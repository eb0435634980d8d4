"""The server around the app: uvicorn, which ends cleanly on SIGTERM."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from imagequeue.runtime import Runtime


class Server(uvicorn.Server):
    """Ends streams before it waits for the requests that are still being served."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end streams, let the rest finish."""
        self._app.state.front.watch.end_streams()
        await super().shutdown(sockets)


def serve(runtime: Runtime, listener: socket.socket, *, stop_seconds: int) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT.

    Requests that are being served then get `stop_seconds`. No access log: its URLs would hold media tokens.
    """
    app = create_app(runtime)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=stop_seconds,
        timeout_keep_alive=75,
        backlog=2048,
    )
    Server(config, app).run(sockets=[listener])
