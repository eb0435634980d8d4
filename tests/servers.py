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


DATE_SECONDS = 1
"""How old the Date of an answer may be."""


class _EventServer(uvicorn.Server):
    """uvicorn that says when it listens, ends when it is told to, and cuts open connections off.

    uvicorn itself looks every tenth of a second whether it shall end, and waits as long for its connections:
    with a server a test, that would be minutes of the suite.
    """

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """End soon; to be called once, from another thread, after the start."""
        self.should_exit = True
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopping.set)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._ready.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), DATE_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # the listener is whose it was
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        await asyncio.sleep(0)  # the connections learn that they are lost
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)
        await self.lifespan.shutdown()


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
        self._stopped = False
        config = uvicorn.Config(
            app,
            http=http,  # type: ignore[arg-type]  # a name is a literal there
            ws="none",
            proxy_headers=False,
            log_level="warning",
            access_log=False,
        )
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
        if not self._stopped:
            self._stopped = True
            self._server.stop()
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
