"""What is read of an answer: how much, where it lies, and what is not taken."""

from __future__ import annotations

import socket

import httpx
import pytest

from imagequeue.domain.upstream import Unavailable
from imagequeue.providers import exchange
from tests.providers.scripted import answer, read_request, scripted_server
from tests.providers.sending import MIB, replying, send


def test_an_error_answer_that_breaks_off_is_judged_by_its_status(client: httpx.Client) -> None:
    script = replying(answer(429, b'{"err', "Retry-After: 7", length=500))
    with scripted_server(script) as url, send(client, url) as response:
        assert (response.status, response.headers["retry-after"]) == (429, "7")


def test_an_endless_success_is_cut_and_unavailable(client: httpx.Client) -> None:
    written = 0

    def script(connection: socket.socket) -> None:
        nonlocal written
        read_request(connection)
        connection.sendall(answer(200, b"", length=1000 * MIB))
        for _ in range(1000):
            connection.sendall(bytes(MIB))
            written += 1

    with scripted_server(script) as url, pytest.raises(Unavailable, match="larger"):
        send(client, url, max_bytes=2 * MIB)
    assert written < 50


def test_a_long_error_body_is_cut(client: httpx.Client) -> None:
    with scripted_server(replying(answer(500, bytes(8 * MIB)))) as url, send(client, url) as response:
        assert len(response.content()) == exchange.ERROR_BODY_BYTES


@pytest.mark.parametrize(("size", "on_disk"), [(MIB // 2, False), (3 * MIB, True)])
def test_bodies_above_one_mib_are_on_disk(client: httpx.Client, size: int, on_disk: bool) -> None:  # noqa: FBT001
    with scripted_server(replying(answer(200, b"x" * size))) as url, send(client, url) as response:
        assert response.body.on_disk is on_disk  # type: ignore[attr-defined]
        assert response.content() == b"x" * size


def test_limit_grows_with_the_images() -> None:
    assert exchange.response_limit(1) < exchange.response_limit(3) < exchange.response_limit(4)
    assert exchange.response_limit(4) == exchange.response_limit(10) == 64 * MIB
