"""Real HTTP servers for tests: any ASGI app by uvicorn, in a thread, on a free loopback port."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import uvicorn

from simulator.app import create_app
from simulator.config import SimulatorConfig
from simulator.connection import ConnectionProtocol
from simulator.server import listen
from simulator.state import Simulator

START_SECONDS = 120
STOP_SECONDS = 120


class _EventServer(uvicorn.Server):
    """uvicorn that says when it listens, ends when an event is set, and cuts open connections off."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        await super().shutdown(sockets)


class ServerThread:
    """Runs an ASGI app while the context is open; `url` is its base URL, without a slash at the end.

    Open connections are aborted at the end, so hanging handlers do not hold a test up. Raises RuntimeError
    when the app does not start or stop within two minutes.
    """

    def __init__(self, app: Any, *, http: type[asyncio.Protocol] | str = "auto") -> None:
        self._listener = listen("127.0.0.1", 0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready = threading.Event()
        config = uvicorn.Config(
            app, http=http, ws="none", proxy_headers=False, log_level="warning", access_log=False
        )  # type: ignore[arg-type]  # a name is a literal there
        self._server = _EventServer(config, self._ready)
        self._thread = threading.Thread(target=self._run, name=f"server-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise RuntimeError("the server did not start")
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop now; the end of the context then does nothing more."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._listener.close()
        if self._thread.is_alive():
            raise RuntimeError("the server did not stop")

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))


class SimulatorThread(ServerThread):
    """A simulator with the given upstreams; `state` is its inside, to be read only."""

    def __init__(self, config: SimulatorConfig, log: Path | None = None) -> None:
        app = create_app(config, log)
        self.state: Simulator = app.state.simulator
        super().__init__(app, http=ConnectionProtocol)
