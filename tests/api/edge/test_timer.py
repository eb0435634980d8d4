"""The time that a connection has, in each of its phases."""

from __future__ import annotations

import asyncio
import socket

import pytest
from starlette.types import Receive, Scope, Send

from api.edge.limits import EdgeLimits
from chaos.hostile.malformed import chunked, head
from tests.api.edge.conversation import GOOD, Conversation
from tests.api.edge.serving import Held, echo, on_edge
from tests.eventually import eventually

MIB = 1024 * 1024
SOON = EdgeLimits(
    head_seconds=0.3,
    idle_seconds=0.3,
    body_grace_seconds=0.3,
    body_seconds=0.6,
    linger_seconds=0.3,
    stall_seconds=0.3,
)
"""So that nothing is waited for longer than half a second."""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"GET", 408),
        (GOOD, None),
        (GOOD + b"GET /x", 408),
        (head(b"Content-Length: 9") + b"half", 408),
        (chunked(b"5\r\nhello\r\n"), 408),
    ],
    ids=["nothing", "half a head", "a request", "half a second head", "half a body", "half the chunks"],
)
def test_a_silent_connection_is_closed(sent: bytes, status: int | None) -> None:
    """With 408 where a request has begun; elsewhere the client might take it for its next one's answer."""
    with on_edge(echo, SOON) as (server, edge), Conversation(server.port) as connection:
        connection.send(sent)
        if sent.startswith(GOOD):
            assert connection.answer().status == 200
        if status is not None:
            assert connection.answer().status == status
        assert connection.rest() == b""
        eventually(lambda: edge.connections.count == 0)


@pytest.mark.parametrize("byte_every", [0.05, 0.2])
def test_a_body_that_trickles_has_a_deadline(byte_every: float) -> None:
    """Also where it comes as fast as the least rate asks: a tenth of a byte a second here."""
    limits = EdgeLimits(body_grace_seconds=30, body_bytes_per_second=0.1, body_seconds=0.4)

    async def trickle(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(b"Content-Length: 1000"))
        answer = asyncio.create_task(reader.readline())
        while not (await asyncio.wait({answer}, timeout=byte_every))[0]:
            writer.write(b"a")
        writer.close()
        return answer.result()

    with on_edge(echo, limits) as (server, _):
        assert asyncio.run(trickle(server.port)).startswith(b"HTTP/1.1 408")


def test_a_body_that_the_app_does_not_read_yet_is_not_late() -> None:
    """Its clock stands while the server leaves the socket unread."""
    held = Held(echo)
    limits = EdgeLimits(body_grace_seconds=0.2)
    with on_edge(held, limits) as (server, _), Conversation(server.port) as connection:
        connection.send(head(b"Content-Length: %d" % MIB) + b"a" * (MIB // 2))
        eventually(lambda: held.requests == 1)
        with Conversation(server.port) as other:  # waits for as long as the body might take
            other.send(head(b"Content-Length: 1"))
            assert other.answer().status == 408
        held.release()
        connection.send(b"a" * (MIB // 2))
        assert connection.answer().body.startswith(b"POST /x 1048576")


def test_a_client_that_reads_nothing_of_its_answer_is_cut_off() -> None:
    sent = list[int]()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"a" * MIB, "more_body": True})
            sent.append(MIB)

    with on_edge(endless, SOON) as (server, edge), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(GOOD)
        eventually(lambda: sent)
        eventually(lambda: edge.connections.count == 0)
        with client.makefile("rb") as answer:
            assert not answer.read().endswith(b"0\r\n\r\n"), "the answer was given to its end"
