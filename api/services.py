"""What one API process holds: the runtime, the verbs, and what its routes have opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeVar, cast

from fastapi import Request

from api.image_budget import ImageBudget
from imagequeue import wiring
from imagequeue.runtime import Runtime
from imagequeue.wakeup import Wakeups


class Closable(Protocol):
    """Something that is closed when the process ends."""

    def close(self) -> None:
        """Finish what runs; take nothing new."""


C = TypeVar("C", bound=Closable)


class ApiServices:
    """Everything that routes share. Made once per process; `request.app.state.services`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.wakeups = Wakeups(runtime.redis)
        self.submit = wiring.submitter(runtime, self.wakeups)
        self.settlement = wiring.settlement(runtime, self.wakeups.jobs_final)
        self.upstream_callbacks = wiring.upstream_callbacks(runtime, self.wakeups.polls_due)
        self.client_rate_limit = wiring.client_rate_limit(runtime)
        self.forecast = wiring.forecast_reader(runtime)
        self.image_budget = ImageBudget()
        self._opened: dict[Callable[[ApiServices], Closable], Closable] = {}

    def opened(self, opening: Callable[[ApiServices], C]) -> C:
        """What `opening` made in this process: once, at its first use, and closed when the process ends.

        So a route brings its own threads (`coalesced`, `isolated`), and no list names them all.
        """
        if opening not in self._opened:
            self._opened[opening] = opening(self)
        return cast("C", self._opened[opening])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Serve while the context is open; at its end what runs in threads is finished."""
        try:
            yield
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for opened in self._opened.values():
            opened.close()
        self.wakeups.close()


def services_of(request: Request) -> ApiServices:
    """The services of the app that serves a request."""
    return request.app.state.services
