"""Runs the simulator as a program, which prints its URL when it listens, and ends at once on SIGTERM."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import uvicorn

from simulator.app import create_app
from simulator.config import SimulatorConfig
from simulator.connection import ConnectionProtocol

_BACKLOG = 2048  # connections in the socket's queue: a test may open a thousand at once


class _Server(uvicorn.Server):
    """uvicorn, but its end does not wait for open calls: some of them hang on purpose."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle no signals: `_run` does that, so that SIGTERM leads to exit status 0."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Abort every connection. The calls on them notice it and end."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, ConnectionProtocol):
                connection.transport.abort()
        await super().shutdown(sockets)


def serve(host: str, port: int, config: SimulatorConfig | None = None, log: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; raises OSError if the port is taken.

    Prints `simulator http://HOST:PORT` when connections are accepted; port 0 takes a free one. `log` is
    the JSON lines file that the strict log is appended to.
    """
    with listen(host, port) as listener:
        asyncio.run(_run(listener, host, config, log))


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises OSError.

    IPPROTO_TCP is given explicitly, because asyncio sets TCP_NODELAY only on such sockets, and without that
    every answer waits 40 ms for a delayed acknowledgement. `socket.create_server` gives 0 instead.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _run(listener: socket.socket, host: str, config: SimulatorConfig | None, log: Path | None) -> None:
    app = create_app(config, log)
    server = _Server(
        uvicorn.Config(
            app, http=ConnectionProtocol, ws="none", log_level="warning", access_log=False, lifespan="on"
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    shown = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"simulator http://{shown}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve(sockets=[listener])
