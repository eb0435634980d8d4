"""Behind a proxy: the client's address and scheme, and the limit on its open requests."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.edge.addresses import TrustedProxies
from api.edge.forwarded import Forwarded
from api.edge.limits import EdgeLimits
from api.edge.shared import Edge
from imagequeue.dialects.registry import DIALECTS
from tests.api.edge.conversation import Conversation
from tests.api.edge.serving import Held, on_edge, plain
from tests.eventually import eventually


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Say whose request it is."""
    await Response(f"{scope['client'][0]} {scope['scheme']}")(scope, receive, send)


def behind_proxies(app: ASGIApp, proxies: str, per_address: int = 9) -> ASGIApp:
    """An app that believes these proxies."""
    limits = EdgeLimits(connections_per_address=per_address)
    forwarded = Forwarded(app, Edge(limits, TrustedProxies.parse(proxies), plain))
    outer = FastAPI()
    outer.state.dialects = DIALECTS

    async def with_app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await forwarded({**scope, "app": outer}, receive, send)

    return with_app


def request(*fields: str) -> bytes:
    return "\r\n".join(["GET /v1/models HTTP/1.1", "Host: a", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("proxies", "fields", "told"),
    [
        ("", ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"], b"127.0.0.1 http"),
        ("10.0.0.0/8", ["X-Forwarded-For: 192.0.2.1"], b"127.0.0.1 http"),
        ("127.0.0.1", ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"], b"192.0.2.1 https"),
        ("127.0.0.1", ["X-Forwarded-For: 8.8.8.8", "X-Forwarded-For: 192.0.2.1"], b"192.0.2.1 http"),
        ("127.0.0.1", ["Forwarded: for=192.0.2.1;proto=https", "X-Forwarded-Proto: ws"], b"127.0.0.1 http"),
    ],
)
def test_only_a_trusted_proxy_says_whose_request_it_is(proxies: str, fields: list[str], told: bytes) -> None:
    with on_edge(behind_proxies(tell, proxies)) as (server, _), Conversation(server.port) as connection:
        assert connection.send(request(*fields)).answer().body == told


def test_a_client_behind_a_proxy_has_only_so_many_open_requests_and_others_have_theirs() -> None:
    held = Held(tell)
    app = behind_proxies(held, "127.0.0.1", per_address=1)
    mine, other = request("X-Forwarded-For: 192.0.2.1"), request("X-Forwarded-For: 192.0.2.2")
    with (
        on_edge(app) as (server, _),
        Conversation(server.port) as first,
        Conversation(server.port) as second,
        Conversation(server.port) as third,
    ):
        first.send(mine)
        eventually(lambda: held.requests == 1)
        refused = second.send(mine).answer()
        assert (refused.status, refused.fields["retry-after"]) == (429, "1")
        assert json.loads(refused.body)["error"]["type"], "in the dialect of the path"
        third.send(other)
        eventually(lambda: held.requests == 2)
        held.release()
        assert [first.answer().body, third.answer().body] == [b"192.0.2.1 http", b"192.0.2.2 http"]
        assert second.send(mine).answer().body == b"192.0.2.1 http", "its connection goes on"
