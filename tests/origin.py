"""A web server whose images clients name: what it answers, and when, is the test's."""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.media.pictures import picture
from tests.servers import ServerThread


class Origin(AbstractContextManager["Origin"]):
    """Answers `/image.png` with an image, what is in `bodies` with that, and everything else with a page.

    `statuses` and `first_bodies` come first, one for each request. While `held` is clear, `/held.png` is not
    answered.
    """

    def __init__(self) -> None:
        self.requests = Counter[str]()
        self.statuses = deque[int]()
        self.first_bodies = deque[bytes]()
        self.headers = dict[str, str]()
        image = picture(size=(800, 800))
        self.bodies = {"/image.png": image, "/held.png": image}
        self.held, self.reached = threading.Event(), threading.Event()
        self._server = ServerThread(Starlette(routes=[Route("/{path:path}", self._serve)]))

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    @property
    def place(self) -> str:
        """The same, as the egress guard's list has it."""
        return self.url.removeprefix("http://")

    def _serve(self, request: Request) -> Response:
        path = request.url.path
        self.requests[path] += 1
        if path == "/held.png":
            self.reached.set()
            self.held.wait(120)
        status = self.statuses.popleft() if self.statuses else 200
        body = self.first_bodies.popleft() if self.first_bodies else self.bodies.get(path)
        media_type = "text/html" if body is None else "image/png"
        return Response(
            b"<html>" if body is None else body, status, headers=self.headers, media_type=media_type
        )

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held.set()
        self._server.__exit__(kind, error, trace)
