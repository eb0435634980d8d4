"""One stack for the tests that leave it as it is, and a receiver that its callbacks may reach."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.e2e.live import LiveStack
from tests.servers import ServerThread


@dataclass
class Receiver:
    """Takes callbacks; remembers the `webhook-id` of each."""

    url: str = ""
    ids: list[str] = field(default_factory=list[str])
    came: threading.Condition = field(default_factory=threading.Condition)

    async def take(self, request: Request) -> Response:
        with self.came:
            self.ids.append(request.headers["webhook-id"])
            self.came.notify_all()
        return Response()

    def wait_for(self, count: int, seconds: float) -> bool:
        """Whether so many different callbacks have come within the time."""
        with self.came:
            return self.came.wait_for(lambda: len(set(self.ids)) >= count, seconds)


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    """A server on loopback."""
    made = Receiver()
    with ServerThread(Starlette(routes=[Route("/hook", made.take, methods=["POST"])])) as server:
        made.url = f"{server.url}/hook"
        yield made


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[LiveStack]:
    """A running stack with the built-in catalog."""
    allow = urlsplit(receiver.url).netloc
    with LiveStack(tmp_path_factory.mktemp("stack") / "data", IMAGEQUEUE_EGRESS_ALLOW=allow) as running:
        yield running
