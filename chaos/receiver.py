"""A receiver of webhooks that records what comes, and now and then answers with a failure."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Self

FAILING_SHARE = 0.1
"""Of the webhooks, answered with 500."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One webhook that came; `taken`: it was answered with 200."""

    path: str
    webhook_id: str
    body: str
    taken: bool


class Receiver:
    """A server for webhooks on loopback; `url` is its base."""

    def __init__(self, seed: int) -> None:
        self.receipts: list[Receipt] = []
        self.random = Random(seed)
        self.lock = threading.Lock()
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def take(self, path: str, webhook_id: str, body: str) -> bool:
        """Record a webhook; False: it is to be answered with a failure."""
        with self.lock:
            taken = self.random.random() >= FAILING_SHARE
            self.receipts.append(Receipt(path, webhook_id, body, taken))
        return taken

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: workers are killed in the middle of requests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Print nothing."""

    def do_POST(self) -> None:
        """Take a webhook."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        taken = self.server.receiver.take(self.path, self.headers.get("webhook-id", ""), body)
        self.send_response(HTTPStatus.OK if taken else HTTPStatus.INTERNAL_SERVER_ERROR)
        self.send_header("Content-Length", "0")
        self.end_headers()
