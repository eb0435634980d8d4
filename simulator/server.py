"""Runs the simulator as a program: prints when it listens, and ends at once on SIGTERM."""

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

_BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn, but open calls do not hold up the end: hanging is what some of them are for."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take no signals: `_run` does, and a SIGTERM is then a clean end with exit status 0."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Abort every connection; the calls on them notice and end."""
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

    The protocol is named on purpose: asyncio sets TCP_NODELAY only where it is, and `socket.create_server`
    leaves it 0. Without it every answer waits 40 ms for a delayed acknowledgement.
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
