"""Connections at the edge: what they may cost, and what they may do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi import Response
from starlette.types import Receive, Scope, Send

from api.edge.limits import EdgeLimits
from chaos.hostile.malformed import INNER, chunked, head
from tests.api.edge.conversation import GOOD, Conversation
from tests.api.edge.serving import Held, api_without_database, echo, on_edge
from tests.eventually import eventually
from tests.servers import ServerThread

LINE = "GET /x HTTP/1.1\r\nHost: a\r\n"
MIB = 1024 * 1024

RIGHT = {
    "the whole URL as the target": (b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x 0 host"),
    "an empty line before it": (b"\r\n" + LINE.encode() + b"\r\n", "GET /x 0 host"),
    "no host in HTTP/1.0": (b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /x 0 connection"),
    "an empty host": (b"GET /x HTTP/1.1\r\nHost:\r\n\r\n", "GET /x 0 host"),
    "an IPv6 host": (b"GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /x 0 host"),
    "no space after a colon": (b"GET /x HTTP/1.1\r\nhost:a\r\n\r\n", "GET /x 0 host"),
    "spaces around values": (
        b"POST /x HTTP/1.1\r\nHost: \t a \r\nContent-Length: 2 \t\r\n\r\nab",
        "POST /x 2 ",
    ),
    "a hundred fields": (head(*(b"a: b" for _ in range(99))), "POST /x 0 a,host"),
    "an upgrade to a WebSocket": (
        head(
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            line=b"GET /x HTTP/1.1",
        ),
        "GET /x 0 connection,host,sec-websocket-version",
    ),
    "an upgrade with a body": (
        head(b"Connection: Upgrade", b"uPgrade: h2c", b"Content-Length: %d" % len(INNER)) + INNER,
        f"POST /x {len(INNER)} connection,content-length,host",
    ),
    "chunks with extensions": (
        chunked(b'5;a=b;c="d"\r\nhello\r\n00000006\r\n, 1234\r\n0;e\r\n\r\n'),
        "POST /x 11 host,transfer-encoding",
    ),
    "a trailer, which is not told": (
        chunked(b"2\r\nab\r\n0\r\nAuthorization: b\r\nX-Webhook-URL: c\r\n\r\n"),
        "POST /x 2 host,transfer-encoding",
    ),
}


@pytest.fixture(scope="module")
def echoing() -> Iterator[ServerThread]:
    with on_edge(echo) as (server, _):
        yield server


@pytest.mark.parametrize("sent", RIGHT, ids=str)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "byte by byte"])
def test_unusual_but_right_requests_are_served_and_so_are_their_neighbours(
    echoing: ServerThread, sent: str, *, at_once: bool
) -> None:
    request, told = RIGHT[sent]
    everything = GOOD + request + (b"" if b"HTTP/1.0" in request else GOOD)
    with Conversation(echoing.port) as connection:
        for piece in [everything] if at_once else [bytes([one]) for one in everything]:
            connection.send(piece)
        bodies = [connection.answer().body.decode() for _ in range(2)]
        assert bodies[1].startswith(told)
        if b"HTTP/1.0" not in request:
            bodies.append(connection.answer().body.decode())
        assert {bodies[0], bodies[-1]} - {bodies[1]} <= {"GET /healthz 0 host"}


def test_pipelined_requests_are_answered_in_turn_and_only_some_bytes_of_them_wait() -> None:
    held, requests = Held(echo), 6_000
    with on_edge(held) as (server, edge), Conversation(server.port) as connection:
        connection.send(GOOD)
        eventually(lambda: held.requests == 1)
        sending = threading.Thread(target=connection.send, args=[GOOD * requests])
        sending.start()
        eventually(lambda: edge.unread_bytes > edge.limits.unread_bytes)
        assert held.requests == 1
        assert edge.unread_bytes < 6 * edge.limits.unread_bytes
        held.release()
        for _ in range(requests + 1):
            assert connection.answer().body == b"GET /healthz 0 host"
        sending.join()
        eventually(lambda: edge.unread_bytes == 0)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    with api_without_database(EdgeLimits(), tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.mark.parametrize("path", ["/v2/wallet", "/v1/images/generations", "/api/v1/images", "/mai/v1/x"])
@pytest.mark.parametrize("size", [70_000, 200], ids=["bytes", "fields"])
def test_a_head_that_is_too_large_is_refused_in_the_dialect_of_its_path(
    api: ServerThread, path: str, size: int
) -> None:
    fields = [b"a: " + b"b" * size] if size > 1000 else [b"a: b"] * size
    with Conversation(api.port) as connection:
        refused = connection.send(head(*fields, line=f"GET {path}?a=b HTTP/1.1".encode())).answer()
    with Conversation(api.port) as connection:
        unrouted = connection.send(head(line=f"PUT {path}/none HTTP/1.1".encode())).answer()
    assert (refused.status, unrouted.status) == (431, 404)
    assert _shape(json.loads(refused.body)) == _shape(json.loads(unrouted.body))
    assert refused.fields["x-should-retry"] == "false"


def _shape(told: Any) -> Any:
    """The names in an envelope."""
    fields = cast("dict[str, Any]", told) if isinstance(told, dict) else None
    return fields and {name: _shape(value) for name, value in fields.items()}


def test_a_refusal_of_a_head_request_has_no_body(echoing: ServerThread) -> None:
    with Conversation(echoing.port) as connection:
        connection.send(head(b"Host: b", line=b"HEAD /x HTTP/1.1"))
        assert connection.rest().endswith(b"connection: close\r\n\r\n")


@pytest.mark.parametrize("status", [429, 503])
def test_who_finds_no_place_is_told_and_a_place_that_is_given_back_is_taken(status: int) -> None:
    most = {"connections_per_address": 2} if status == 429 else {"connections": 2}
    with on_edge(echo, EdgeLimits(**most)) as (server, edge):
        with Conversation(server.port) as first, Conversation(server.port) as second:
            assert [one.send(GOOD).answer().status for one in (first, second)] == [200, 200]
            with Conversation(server.port) as third:
                refused = third.answer()
                assert (refused.status, refused.fields["retry-after"]) == (status, "1")
                assert third.rest() == b""
            assert first.send(GOOD).answer().status == 200
        eventually(lambda: edge.connections.count == 0)
        with Conversation(server.port) as fourth:
            assert fourth.send(GOOD).answer().status == 200


def test_a_trusted_proxy_has_as_many_connections_as_it_wants() -> None:
    limits = EdgeLimits(connections_per_address=1)
    with (
        on_edge(echo, limits, proxies="127.0.0.0/8") as (server, _),
        Conversation(server.port) as first,
        Conversation(server.port) as second,
    ):
        assert [one.send(GOOD).answer().status for one in (first, second)] == [200, 200]


def test_heads_that_are_incomplete_have_one_bound_for_all_connections() -> None:
    limits = EdgeLimits(all_unread_bytes=100_000)
    half = LINE.encode() + b"a: " + b"b" * 60_000
    with (
        on_edge(echo, limits) as (server, edge),
        Conversation(server.port) as first,
        Conversation(server.port) as second,
    ):
        first.send(half)
        eventually(lambda: edge.unread_bytes == len(half))
        refused = second.send(half).answer()
        assert refused.status == 503
        assert first.send(b"\r\n\r\n").answer().status == 200
        assert edge.unread_bytes == 0


async def answers_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that reads no body."""
    if scope["type"] == "http":
        await Response("no")(scope, receive, send)


def test_a_body_after_its_answer_is_read_up_to_a_bound() -> None:
    limits = EdgeLimits(drained_bytes=MIB)
    with on_edge(answers_at_once, limits) as (server, _):
        with Conversation(server.port) as connection:
            connection.send(head(b"Content-Length: %d" % MIB))
            assert connection.answer().body == b"no"
            assert connection.send(b"a" * MIB + GOOD).answer().body == b"no"
        with Conversation(server.port) as connection:
            connection.send(head(b"Content-Length: %d" % (100 * MIB)))
            assert connection.answer().body == b"no"
            connection.send(b"a" * (2 * MIB))
            assert connection.rest() == b""


def test_who_waits_for_a_100_and_gets_an_answer_is_cut_off() -> None:
    """Nobody can say whether the body or a next request comes."""
    expecting = head(b"Content-Length: %d" % len(INNER), b"Expect: 100-continue")
    with on_edge(answers_at_once) as (server, _), Conversation(server.port) as connection:
        assert connection.send(expecting).answer().body == b"no"
        assert connection.send(INNER).rest() == b""
    with on_edge(echo) as (server, _), Conversation(server.port) as connection:
        assert connection.send(expecting).answer().status == 100
        assert connection.send(INNER).answer().body.startswith(b"POST /x %d" % len(INNER))
        assert connection.send(GOOD).answer().status == 200


def test_a_client_that_leaves_while_its_body_is_malformed_ends_the_request() -> None:
    """The app is told, once, that nobody is there any more."""
    ends = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
            ends.append(message["type"])
            await Response("late")(scope, receive, send)

    with on_edge(app) as (server, _), Conversation(server.port) as connection:
        refused = connection.send(chunked(b"5\r\nhello\r\nx\r\n")).answer()
        assert (refused.status, connection.rest()) == (400, b"")
        eventually(lambda: ends == ["http.disconnect"])
