"""The server around the app: uvicorn, which ends cleanly on SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Generator

import structlog
import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from uvicorn.server import HANDLED_SIGNALS

from api.app import create_app
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.sweep.heartbeat import Heartbeat, this_process
from imagequeue.runtime import Runtime

log = structlog.get_logger()


class Server(uvicorn.Server):
    """Ends streams before it waits for the requests that are still being served."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT, without raising them again once everything has ended cleanly."""
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end streams, let the rest finish."""
        self._app.state.watch.end()
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
    heartbeat, stopping = Heartbeat(runtime.engine, this_process("api"), lambda: 0), threading.Event()
    beats = threading.Thread(target=heartbeat.run, args=(stopping,), name="heartbeat", daemon=True)
    beats.start()
    catalog = CatalogWatch(runtime)
    _on_hangup(catalog.hung_up)
    watching = threading.Thread(target=catalog.run, args=(stopping,), name="catalog", daemon=True)
    watching.start()
    try:
        Server(config, app).run(sockets=[listener])
    finally:
        stopping.set()
        beats.join()
        watching.join()
        _leave(heartbeat)


def _on_hangup(asked: threading.Event) -> None:
    def on_signal(number: int, frame: object) -> None:
        del number, frame
        asked.set()

    signal.signal(signal.SIGHUP, on_signal)


def _leave(heartbeat: Heartbeat) -> None:
    try:
        heartbeat.leave()
    except SQLAlchemyError as error:  # the database may have stopped first; the sweep forgets the row
        log.info("leave_failed", reason=type(error).__name__)
