"""Gathers concurrent calls into one bulk call in a worker thread (docs/design/pipeline.md, "Bulk calls").

Calls that arrive within about a millisecond make a group; while every thread is busy, later calls gather for
the next group. So an idle service answers at once, and a busy one works in larger groups instead of queueing
small ones (group commit).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial, wraps
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import DBAPIError

from api.call_threads import OUTAGES, CallThreads
from api.services import ApiServices

T = TypeVar("T")
R = TypeVar("R")
Call = tuple[T, "asyncio.Future[R]"]

GATHER_SECONDS = 0.001
"""How long the first call of a group waits for others."""

LARGEST_GROUP = 256
"""The most calls of one group, so that nobody waits until thousands are done."""


def coalesced(
    *, threads: int
) -> Callable[
    [Callable[[ApiServices, list[T]], Sequence[R | Exception]]],
    Callable[[ApiServices, T], Coroutine[Any, Any, R]],
]:
    """Make a function that takes and returns lists into a call for one item.

    The function returns one result per item, in order; a result that is an exception is raised to its caller
    alone. Each process has so many threads for it, from its first call until the process ends.
    """

    def define(
        bulk: Callable[[ApiServices, list[T]], Sequence[R | Exception]],
    ) -> Callable[[ApiServices, T], Coroutine[Any, Any, R]]:
        def opened(services: ApiServices) -> Coalescer[T, R]:
            return Coalescer(partial(bulk, services), CallThreads(bulk.__name__, threads))

        @wraps(bulk)
        async def call(services: ApiServices, item: T) -> R:
            return await services.opened(opened).call(item)

        return call

    return define


class Coalescer(Generic[T, R]):
    """Turns `bulk`, which takes and returns lists, into a call for one item. For one event loop."""

    def __init__(self, bulk: Callable[[list[T]], Sequence[R | Exception]], threads: CallThreads) -> None:
        self._bulk = bulk
        self._threads = threads
        self._waiting: deque[Call[T, R]] = deque()
        self._gathering = False

    async def call(self, item: T) -> R:
        """Have one item done in the next group.

        Raises:
            ServiceUnavailable: as `CallThreads.waiting`.
            Exception: what `bulk` returned for the item, or raised for its group.
        """
        async with self._threads.waiting():
            future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self._waiting.append((item, future))
            self._gather()
            return await future

    def close(self) -> None:
        """Let running groups finish; nothing new is taken."""
        self._threads.close()

    def _gather(self) -> None:
        if not self._gathering and self._waiting and not self._threads.is_full:
            self._gathering = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._start)

    def _start(self) -> None:
        self._gathering = False
        group = [self._waiting.popleft() for _ in range(min(LARGEST_GROUP, len(self._waiting)))]
        group = [call for call in group if not call[1].done()]
        if not group:
            return
        done = self._threads.run(partial(self._run, [item for item, _ in group]))
        done.add_done_callback(partial(self._finish, group))
        self._gather()

    def _run(self, items: list[T]) -> Sequence[R | Exception]:
        """Run a group; when the database refuses one of its items, every item runs alone."""
        try:
            return self._bulk(items)
        except OUTAGES:
            raise
        except DBAPIError:
            if len(items) == 1:
                raise
            return [self._alone(item) for item in items]

    def _alone(self, item: T) -> R | Exception:
        try:
            return self._bulk([item])[0]
        except DBAPIError as error:
            return error

    def _finish(self, group: list[Call[T, R]], done: asyncio.Future[Sequence[R | Exception]]) -> None:
        self._gather()
        failure = asyncio.CancelledError() if done.cancelled() else done.exception()
        results = [failure] * len(group) if failure is not None else done.result()
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
