"""A receiver of webhooks that records what comes, and now and then fails, hangs or drips."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Literal, Self

Answer = Literal["taken", "failure", "hang", "dripped head", "dripped body"]

SHARES: Mapping[Answer, float] = {
    "taken": 0.82,
    "failure": 0.10,
    "hang": 0.03,
    "dripped head": 0.03,
    "dripped body": 0.02,
}
"""How webhooks are answered: with 200, with 500, never, or a byte at a time."""
DRIP_SECONDS = 1.0
"""Between two bytes, so that no answer is whole before its sender gives up (15 s)."""
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One webhook that came; `taken`: the head of a 200 was sent whole."""

    path: str
    webhook_id: str
    body: str
    taken: bool


class Receiver:
    """A server for webhooks on loopback; `url` is its base. While `hanging` is set it answers none."""

    def __init__(self, seed: int) -> None:
        self.receipts: list[Receipt] = []
        self.hanging = threading.Event()
        self.ended = threading.Event()
        self._random = Random(seed)
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def take(self, path: str, webhook_id: str, body: str) -> Answer:
        """Record a webhook, and say how it is to be answered."""
        with self._lock:
            (answer,) = self._random.choices(list(SHARES), list(SHARES.values()))
            answer = "hang" if self.hanging.is_set() else answer
            taken = answer in {"taken", "dripped body"}
            self.receipts.append(Receipt(path, webhook_id, body, taken))
        return answer

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self.close()

    def close(self) -> None:
        """Close the socket of a receiver that does not serve."""
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: workers are killed, and give up, in the middle of requests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Print nothing."""

    def do_POST(self) -> None:
        """Take a webhook."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        match self.server.receiver.take(self.path, self.headers.get("webhook-id", ""), body):
            case "hang":
                self._hang()
            case "dripped head":
                self._drip(_HEAD)
            case "dripped body":
                self.wfile.write(_HEAD)
                self._drip(b"x" * 100)
            case answer:
                self._answer(HTTPStatus.OK if answer == "taken" else HTTPStatus.INTERNAL_SERVER_ERROR)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _hang(self) -> None:
        """Send nothing until the sender has closed the connection."""
        self.connection.settimeout(DRIP_SECONDS)
        while not self.server.receiver.ended.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue

    def _drip(self, content: bytes) -> None:
        for byte in content:
            self.wfile.write(bytes([byte]))
            if self.server.receiver.ended.wait(DRIP_SECONDS):
                return
