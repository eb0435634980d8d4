"""A direct route answers what the framework's layers would answer for it, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message

from api.answer_headers import AnswerHeaders, add_headers
from api.direct_routes import DirectRoute, DirectServing
from api.errors import ANSWERS, install
from api.head import HeadAsGet
from api.route_index import RouteIndex
from api.shares import HeldShares, Share, hold, serve_account, shares_of
from api.shares import Shares as AllShares
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.ids import new_id
from tests.api.service import Client

ACCOUNT = new_id()
ERRORS: list[Exception] = [
    *[kind() for kind in ANSWERS],
    OperationalError("SELECT", {}, Exception("gone")),
    PoolTimeout(),
    HTTPException(405, headers={"Allow": "GET"}),
    RuntimeError("a prompt"),
]


class Apps:
    """An app with one direct route, with and without its layers."""

    def __init__(self, raised: Exception | None = None) -> None:
        self.raised = raised
        self.seen_held = 0
        self.framework = FastAPI()
        self.framework.state.shares = AllShares(100)
        install(self.framework, DIALECTS)
        for layer in (HeldShares, HeadAsGet, AnswerHeaders):
            self.framework.add_middleware(layer)
        self.framework.router.add_api_route(
            "/things/{name}", self.endpoint, methods=["GET"], route_class_override=DirectRoute
        )
        index = RouteIndex(self.framework.router.routes)
        self.direct = self.with_app(DirectServing(self.framework, index))

    async def endpoint(self, request: Request, name: str) -> Response:
        add_headers(request, {"X-Request-Id": "one"})
        serve_account(request, ACCOUNT)
        hold(request, shares_of(request).reads)
        self.seen_held = shares_of(request).reads.count(ACCOUNT)
        if self.raised is not None:
            raise self.raised
        return Response(name.upper(), 202, {"own": "header"})

    @property
    def reads(self) -> Share:
        return self.framework.state.shares.reads

    def with_app(self, serving: ASGIApp) -> ASGIApp:
        async def call(scope: Any, receive: Any, send: Any) -> None:
            scope["app"] = self.framework
            await serving(scope, receive, send)

        return call


def ask(app: ASGIApp, method: str = "GET", path: str = "/things/lamp") -> list[Message]:
    """What the app sends."""
    sent = list[Message]()

    arriving: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not arriving:
            await asyncio.Event().wait()  # the client stays
        return arriving.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "server": ("test", 80),
        "client": ("192.0.2.1", 1),
        "state": {},
    }

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    return sent


@pytest.mark.parametrize("raised", [None, *ERRORS], ids=lambda one: type(one).__name__)
def test_an_answer_is_that_of_the_layers(raised: Exception | None) -> None:
    apps = Apps(raised)
    direct = ask(apps.direct)
    assert direct[0]["type"] == "http.response.start"
    assert apps.seen_held == 1
    assert apps.reads.count(ACCOUNT) == 0, "what a request holds is given back"
    assert direct == ask(apps.framework)


@pytest.mark.parametrize(
    ("method", "path"), [("HEAD", "/things/lamp"), ("PUT", "/things/lamp"), ("GET", "/")]
)
def test_what_is_no_direct_route_is_served_by_the_framework(method: str, path: str) -> None:
    apps = Apps()
    assert ask(apps.direct, method, path) == ask(apps.framework, method, path)


def test_an_answer_that_breaks_off_is_not_followed_by_another(caplog: pytest.LogCaptureFixture) -> None:
    async def parts() -> AsyncGenerator[bytes]:
        yield b"first"
        raise RuntimeError("a prompt")

    apps = Apps()

    async def endpoint(request: Request) -> Response:
        del request
        return StreamingResponse(parts())

    apps.framework.router.add_api_route(
        "/broken", endpoint, methods=["GET"], route_class_override=DirectRoute
    )
    index = RouteIndex(apps.framework.router.routes)
    sent = ask(apps.with_app(DirectServing(apps.framework, index)), path="/broken")
    assert [one["type"] for one in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["more_body"]


def test_submits_and_polls_are_direct(client: Client) -> None:
    routes = {
        route.path: route for route in client.service.app.router.routes if isinstance(route, DirectRoute)
    }
    assert {"/v2/requests/status/{request_id}", "/{model_id}/v1/{same_model_id}-request"} <= routes.keys()
