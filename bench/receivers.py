"""Receivers of the row `webhooks`, on loopback: one that answers, one that never does, one that drips."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import UUID

DRIP_SECONDS = 1.0
"""Between two bytes: no answer is whole before its sender gives up."""


class Healthy:
    """Answers 200 at once. `arrived` has the time (`time.perf_counter`) of each webhook, by the URL's id."""

    def __init__(self) -> None:
        self.arrived: dict[UUID, float] = {}
        self._more = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, webhook: UUID) -> None:
        """Note the arrival."""
        with self._more:
            self.arrived.setdefault(webhook, time.perf_counter())
            self._more.notify_all()

    def wait_for(self, webhooks: Sequence[UUID], seconds: float) -> None:
        """Wait until all of these have come, or the time is over."""
        missing = set(webhooks)
        with self._more:
            self._more.wait_for(lambda: self._has_all(missing), seconds)

    def _has_all(self, missing: set[UUID]) -> bool:
        missing.difference_update([one for one in missing if one in self.arrived])
        return not missing

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="healthy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], receiver: Healthy) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Print nothing."""

    def do_POST(self) -> None:
        """Take a webhook."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.receiver.take(UUID(self.path.rpartition("/")[2]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class BlackHole:
    """Accepts connections and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ended = threading.Event()

    def answer(self, connection: socket.socket) -> None:
        """Read, and say nothing, until the sender gives up."""
        while connection.recv(65536):
            pass

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="black hole", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError):
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self.answer(connection)


class Dripping(BlackHole):
    """Answers a byte at a time."""

    def answer(self, connection: socket.socket) -> None:
        """Send a head that does not end."""
        connection.recv(65536)
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n":
            connection.sendall(bytes([byte]))
            time.sleep(DRIP_SECONDS)
