"""A Redis behind TLS, and one on a Unix socket."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from cli.stack.servers import binaries
from tests.egress.receiver import Conversation, Receiver

PASSWORD = "p@/:?#%"


class TlsRedis:
    """TLS in front of the Redis at `url`; `seen` is what clients have sent through it."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._target = urlsplit(url)
        self.seen: list[bytes] = []
        self._receiver = Receiver(self._forward, tls=tls)
        self._ended, self._end = socket.socketpair()

    def __enter__(self) -> None:
        self._receiver.__enter__()

    def __exit__(self, *_: object) -> None:
        """Close every connection, also those that a client's pool has left open."""
        self._end.close()
        self._receiver.__exit__(None, None, None)
        self._ended.close()

    def url(self, query: str = "", host: str = "localhost") -> str:
        """Its URL, with the password of the Redis behind it."""
        return f"rediss://:{self._target.password}@{host}:{self._receiver.port}/0{query}"

    def _forward(self, conversation: Conversation) -> None:
        """Carry bytes both ways until one side closes."""
        client = cast("ssl.SSLSocket", conversation.sock)
        with socket.create_connection((self._target.hostname, self._target.port)) as server:
            while True:
                watched = [client, server, self._ended]
                ready = [client] if client.pending() else select.select(watched, [], [])[0]
                if self._ended in ready:
                    return
                for source, sink in ((client, server), (server, client)):
                    if source not in ready:
                        continue
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        self.seen.append(data)
                    sink.sendall(data)


@contextmanager
def redis_on_a_socket(path: Path) -> Generator[None]:
    """A Redis with a password that listens on a Unix socket only."""
    command = [binaries.redis_server(), "--port", "0", "--unixsocket", path, "--requirepass", PASSWORD]
    with subprocess.Popen(
        [*map(str, command), "--save", "", "--dir", str(path.parent)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert any("eady to accept connections" in line for line in server.stdout)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.kill()
