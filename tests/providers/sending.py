"""Send one request to a scripted server."""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx

from imagequeue.providers import exchange
from imagequeue.providers.response import UpstreamResponse
from tests.providers.scripted import read_request

MIB = 1024 * 1024


def send(
    client: httpx.Client,
    url: str,
    *,
    sent: Callable[[float], None] | None = None,
    seconds: float = 5,
    max_bytes: int = 4 * MIB,
    content: bytes = b"hello",
    before: Callable[[], None] | None = None,
    headers: dict[str, str] | None = None,
) -> UpstreamResponse:
    """Send as an attempt does; 5 seconds and 4 MiB, unless something else is given."""
    return exchange.send(
        httpx.Request("POST", url, content=content, headers=headers),
        client=client,
        deadline_seconds=seconds,
        max_bytes=max_bytes,
        on_sent=sent,
        before_send=before,
    )


def replying(data: bytes) -> Callable[[socket.socket], None]:
    """A script that reads one request and answers."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(data)

    return script
