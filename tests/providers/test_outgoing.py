"""Large requests wait on disk, and arrive as they were built."""

from __future__ import annotations

import os
import socket

import httpx
import pytest

from imagequeue.egress import deadline_transport
from imagequeue.providers import exchange
from imagequeue.providers.outgoing import IN_MEMORY_BYTES, FileBody, parked
from tests.providers.scripted import answer, read_request, scripted_server


@pytest.mark.parametrize("size", [10, IN_MEMORY_BYTES, 3_000_000])
def test_what_arrives_is_what_was_built(size: int) -> None:
    content, came = os.urandom(size), list[bytes]()

    def script(connection: socket.socket) -> None:
        came.append(read_request(connection))
        connection.sendall(answer(200, b"{}"))

    with scripted_server(script) as url, httpx.Client(transport=deadline_transport()) as client:
        files = {"image": ("image.png", content, "image/png")}
        built = httpx.Request("POST", url, headers={"api-key": "k"}, files=files, data={"prompt": "x"})
        whole = built.read()
        with parked(lambda: built) as request:
            assert isinstance(request.stream, FileBody) == (len(whole) > IN_MEMORY_BYTES)
            exchange.send(request, client=client, deadline_seconds=20, max_bytes=1000).close()
    head, _, body = came[0].partition(b"\r\n\r\n")
    assert body == whole
    assert f"content-length: {len(whole)}".encode() in head.lower()
    assert b"api-key: k" in head.lower()


def test_the_file_is_gone_afterwards() -> None:
    with parked(lambda: httpx.Request("POST", "http://x.example", content=bytes(1_000_000))) as request:
        assert sum(map(len, request.stream)) == 1_000_000  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="closed"):
        list(request.stream)  # type: ignore[arg-type]
