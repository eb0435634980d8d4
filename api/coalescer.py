"""Gathers concurrent calls into one bulk call in a worker thread (docs/design/pipeline.md, "Bulk calls").

Calls that arrive within about a millisecond make a group; while every thread is busy, later calls gather for
the next group. So an idle service answers at once, and a busy one works in larger groups instead of queueing
small ones (group commit).

A group that the database does not answer holds its thread. Callers do not wait for that: each gives up after
`patience` seconds, and once groups hang that long, or an attempt to connect has taken its time and failed,
new calls are refused at once for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagequeue.domain.errors import ServiceUnavailable

T = TypeVar("T")
R = TypeVar("R")
Call = tuple[T, "asyncio.Future[R]"]

GATHER_SECONDS = 0.001
PATIENCE_SECONDS = 5.0
SLOW_SECONDS = 1.0
COOLDOWN_SECONDS = 1.0
"""After an outage that took `SLOW_SECONDS` to be noticed, nobody else is made to wait for this long."""

_OUTAGES = (OperationalError, InterfaceError, PoolTimeout)


class Coalescer(Generic[T, R]):
    """Turns `bulk`, which takes and returns lists, into a call for one item. For one event loop.

    `bulk` returns one result per item, in order; a result that is an exception is raised to that caller only.
    """

    def __init__(
        self,
        bulk: Callable[[list[T]], Sequence[R | Exception]],
        *,
        name: str,
        threads: int = 2,
        most: int = 256,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._bulk = bulk
        self._threads = threads
        self._most = most
        self._patience = patience
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._waiting: deque[Call[T, R]] = deque()
        self._running: dict[asyncio.Future[Sequence[R | Exception]], float] = {}
        self._gathering = False
        self._refuse_until = 0.0

    async def call(self, item: T) -> R:
        """Have one item done in the next group.

        Raises:
            ServiceUnavailable: the groups hang, or were slow to find that the database is away.
            Exception: what `bulk` returned for the item, or raised for its group.
        """
        if self._hangs():
            raise ServiceUnavailable
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._gather()
        try:
            async with asyncio.timeout(self._patience):
                return await future
        except TimeoutError:
            raise ServiceUnavailable from None

    def close(self) -> None:
        """Let running groups finish; nothing new is taken."""
        self._executor.shutdown(cancel_futures=True)

    def _hangs(self) -> bool:
        if time.monotonic() < self._refuse_until:
            return True
        if len(self._running) < self._threads:
            return False
        return time.monotonic() - max(self._running.values()) > self._patience

    def _gather(self) -> None:
        if not self._gathering and self._waiting and len(self._running) < self._threads:
            self._gathering = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._start)

    def _start(self) -> None:
        self._gathering = False
        group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        group = [call for call in group if not call[1].done()]
        if not group:
            return
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._executor, self._run, [item for item, _ in group])
        self._running[done] = time.monotonic()
        done.add_done_callback(lambda future: self._finish(group, future))
        self._gather()

    def _run(self, items: list[T]) -> Sequence[R | Exception]:
        """Run a group; when the database refuses one of its items, every item runs alone."""
        try:
            return self._bulk(items)
        except _OUTAGES:
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
        began = self._running.pop(done)
        self._gather()
        failure = asyncio.CancelledError() if done.cancelled() else done.exception()
        if isinstance(failure, _OUTAGES) and time.monotonic() - began > SLOW_SECONDS:
            self._refuse_until = time.monotonic() + COOLDOWN_SECONDS
        results = [failure] * len(group) if failure is not None else done.result()
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
