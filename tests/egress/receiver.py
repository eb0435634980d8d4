"""A receiver on loopback that follows a script, byte by byte, over a raw socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

_LONGEST_WAIT = 30.0  # seconds; a script that outlives its test ends with the receiver long before


class Conversation:
    """One accepted connection, as a script sees it."""

    def __init__(self, sock: socket.socket, ended: threading.Event) -> None:
        self.sock = sock
        self._ended = ended

    def read_request(self) -> bytes:
        """Read one whole request: its head and as much body as it announces; empty when the peer closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(65536)
            if not more:
                return data
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        while len(body) < length:
            more = self.sock.recv(65536)
            if not more:
                break
            data += more
            body += more
        return data

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises OSError once the peer has gone."""
        self.sock.sendall(data)

    def hang(self) -> None:
        """Do nothing until the test is over."""
        self._ended.wait(_LONGEST_WAIT)

    def drip(self, data: bytes, seconds: float = 0.02) -> None:
        """Send one byte now and then; raises OSError once the peer has gone."""
        for byte in data:
            if self._ended.wait(seconds):
                return
            self.sock.sendall(bytes([byte]))

    def drip_for_ever(self, piece: bytes, seconds: float = 0.02) -> None:
        """Send `piece` now and then, until the test is over or the peer has gone (OSError)."""
        while not self._ended.wait(seconds):
            self.sock.sendall(piece)

    def reset(self) -> None:
        """Close with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()


Script: TypeAlias = Callable[[Conversation], None]


class Receiver:
    """Accepts connections on a free port of `address` and runs `script` for each, in a thread of its own."""

    def __init__(
        self, script: Script, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server((address, 0))
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):  # not connected, but the blocked accept returns
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=_LONGEST_WAIT)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(lambda accepted=sock: self._serve(accepted))

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(_LONGEST_WAIT)
        with contextlib.suppress(OSError), sock:  # the client may leave at any byte
            if self._tls is None:
                self._script(Conversation(sock, self._ended))
                return
            with self._tls.wrap_socket(sock, server_side=True) as secured:
                self._script(Conversation(secured, self._ended))


def answering(answer: bytes, record: list[bytes] | None = None) -> Script:
    """Make a script that reads one request, gives `answer` and closes."""

    def script(conversation: Conversation) -> None:
        request = conversation.read_request()
        if record is not None:
            record.append(request)
        conversation.send(answer)

    return script
