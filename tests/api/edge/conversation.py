"""One connection by a raw socket: what is sent is sent as it is, and every answer is read."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import Self

PATIENCE_SECONDS = 60.0
GOOD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
"""A right request: what comes before and behind others on a connection."""
HEALTHY = b'{"status":"ok"}'


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its fields by names in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


class Conversation:
    """A connection to 127.0.0.1, closed at the end of the context."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(PATIENCE_SECONDS)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> Self:
        """Send all; a server that has closed meanwhile is no failure."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)
        return self

    def answer(self) -> Answer:
        """The next answer; one that announces no length ends with its connection."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (one.partition(": ") for one in lines)
        fields = {name.lower(): value for name, _, value in pairs}
        return Answer(int(line.split()[1]), fields, self._body(int(fields.get("content-length", "0"))))

    def _body(self, length: int) -> bytes:
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return body

    def _receive(self) -> None:
        data = self._socket.recv(65_536)
        assert data, f"closed after {self._received!r}"
        self._received += data

    def rest(self) -> bytes:
        """What comes until the server closes, in `PATIENCE_SECONDS`."""
        with contextlib.suppress(ConnectionError):
            while data := self._socket.recv(65_536):
                self._received += data
        return self._received
