"""Receivers of webhooks that record what comes: most is taken, and some receivers are in trouble.

Each is a target of its own, so what one does must not delay what goes to another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Literal, Self

Answer = Literal["taken", "failure", "hang", "dripped head", "dripped body"]

SHARES: Mapping[Answer, float] = {
    "taken": 0.92,
    "failure": 0.05,
    "hang": 0.01,
    "dripped head": 0.01,
    "dripped body": 0.01,
}
"""How webhooks are answered by a receiver that is well: with 200, with 500, never, or a byte at a time."""
FLAP_SECONDS = 8.0
"""A flapping receiver fails for so long, then works for as long."""

TROUBLE: Mapping[str, Callable[[float], Answer]] = {
    "black hole": lambda _: "hang",
    "drip": lambda _: "dripped head",
    "flapping": lambda seconds: "failure" if seconds // FLAP_SECONDS % 2 == 0 else "taken",
}
"""How a receiver in trouble answers, by the seconds since it began."""

ONE_IN_TROUBLE = 5
"""Of so many webhooks one goes to a receiver in trouble."""
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
    """A server for webhooks on loopback; `url` is its base. While `hanging` is set it answers none.

    `trouble` is one of `TROUBLE`, until `recovered` is set.
    """

    def __init__(self, seed: int, trouble: str = "") -> None:
        self.recovered = threading.Event()
        self._trouble, self._began = TROUBLE.get(trouble), time.monotonic()
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
            answer = self._answer()
            taken = answer in {"taken", "dripped body"}
            self.receipts.append(Receipt(path, webhook_id, body, taken))
        return answer

    def _answer(self) -> Answer:
        if self.hanging.is_set():
            return "hang"
        if self._trouble and not self.recovered.is_set():
            return self._trouble(time.monotonic() - self._began)
        (answer,) = self._random.choices(list(SHARES), list(SHARES.values()))
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


class Receivers:
    """One receiver that is well, `main`, and one for each trouble."""

    def __init__(self, seed: int) -> None:
        self.main = Receiver(seed)
        self._troubled = [Receiver(seed + 1 + number, name) for number, name in enumerate(TROUBLE)]
        self._exits = ExitStack()

    def url(self, number: int) -> str:
        """Where the webhook of an order goes."""
        turn, rest = divmod(number, ONE_IN_TROUBLE)
        chosen = self._troubled[turn % len(self._troubled)] if rest == 0 else self.main
        return f"{chosen.url}/hook/{number}"

    def recover(self) -> None:
        """Let those in trouble be well from now on."""
        for receiver in self._troubled:
            receiver.recovered.set()

    @property
    def receipts(self) -> Sequence[Receipt]:
        """What came to all of them."""
        return [receipt for one in (self.main, *self._troubled) for receipt in one.receipts]

    @property
    def addresses(self) -> str:
        """Host and port of each, separated by commas."""
        return ",".join(f"127.0.0.1:{one.port}" for one in (self.main, *self._troubled))

    def __enter__(self) -> Self:
        for one in (self.main, *self._troubled):
            self._exits.enter_context(one)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


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
