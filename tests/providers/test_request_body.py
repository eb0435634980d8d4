"""Large requests wait on disk, and arrive as they were built."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore

import httpx
import pytest

from imagequeue.egress import deadline_transport
from imagequeue.providers import exchange
from imagequeue.providers.request_body import IN_MEMORY_BYTES, FileBody, spooled_request
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
        with spooled_request(lambda: built, large=True) as request:
            assert isinstance(request.stream, FileBody) == (len(whole) > IN_MEMORY_BYTES)
            exchange.send(request, client=client, deadline_seconds=20, max_bytes=1000).close()
    head, _, body = came[0].partition(b"\r\n\r\n")
    assert body == whole
    assert f"content-length: {len(whole)}".encode() in head.lower()
    assert b"api-key: k" in head.lower()


def test_the_file_is_gone_afterwards() -> None:
    with spooled_request(
        lambda: httpx.Request("POST", "http://x.example", content=bytes(1_000_000)), large=True
    ) as request:
        assert sum(map(len, request.stream)) == 1_000_000  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="closed"):
        list(request.stream)  # type: ignore[arg-type]


def test_a_request_without_images_does_not_wait_behind_those_that_load_some() -> None:
    loaded, waiting = Event(), Semaphore(0)

    def load() -> httpx.Request:
        waiting.release()
        loaded.wait(120)
        return httpx.Request("POST", "http://x.example", content=b"image")

    def build(*, large: bool) -> bytes:
        make = load if large else lambda: httpx.Request("POST", "http://x.example", content=b"prompt")
        with spooled_request(make, large=large) as request:
            return request.read()

    with ThreadPoolExecutor(6) as pool:
        edits = [pool.submit(build, large=True) for _ in range(5)]
        for _ in range(4):
            assert waiting.acquire(timeout=120)
        try:
            assert pool.submit(build, large=False).result(120) == b"prompt"
            assert not waiting.acquire(blocking=False), "only four load at a time"
        finally:
            loaded.set()
        assert [edit.result(120) for edit in edits] == [b"image"] * 5
