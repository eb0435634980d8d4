"""Gathers concurrent calls into one bulk call in a worker thread (docs/design/pipeline.md, "Bulk calls").

Calls that arrive within about a millisecond make a group. While a group is being done, later calls gather for
the next one. That begins when the first is done; or in another thread if the first takes long. So an idle
service answers at once, and a busy one works in larger groups instead of queueing small ones (group commit).

Each kind of call has threads of its own in each process (`CallThreads`). A caller waits for its result at
most 5 s, and is then refused with ServiceUnavailable. It is refused at once while every thread hangs, or when
the database has just been found to be away.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial, wraps
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import DBAPIError

from api.call_threads import OUTAGES, CallThreads
from api.deadlines import Deadlines
from api.services import ApiServices
from imagequeue.domain.errors import ServiceUnavailable

T = TypeVar("T")
R = TypeVar("R")

GATHER_SECONDS = 0.001
"""How long the first call of a group waits for others."""

BESIDE_SECONDS = 0.02
"""How long it waits while another group is being done, which takes less unless that waits for a lock."""

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


class PendingCall(Generic[T, R]):
    """One item and its caller. All but `confirm` belongs to the event loop."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._lock = threading.Lock()
        self._given_up = False
        self._confirmed = False

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._given_up

    @property
    def is_confirmed(self) -> bool:
        """Whether the caller was told to wait until the answer comes."""
        return self._confirmed

    def confirm(self) -> bool:
        """Whether the caller still waits; if so, it waits now until the answer comes. For any thread."""
        with self._lock:
            self._confirmed = not self._given_up
            return self._confirmed

    def give_up(self) -> bool:
        """Stop waiting; False where the call is confirmed."""
        with self._lock:
            self._given_up = not self._confirmed
            return self._given_up

    def end(self, result: R | BaseException) -> None:
        """Give the caller its answer, if it still waits."""
        if self.answer.done():
            return
        if isinstance(result, BaseException):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


class Gatherer(Generic[T, R]):
    """Gathers calls into groups, and does each group in a thread. For one event loop.

    `run` does a group, in a thread: one result per call, in order. `end` is given each call with its result.
    `beside_seconds` is how long calls wait at most while another group is being done.
    """

    def __init__(
        self,
        threads: CallThreads,
        run: Callable[[list[PendingCall[T, R]]], Sequence[R | Exception]],
        end: Callable[[PendingCall[T, R], R | BaseException], None],
        beside_seconds: float = BESIDE_SECONDS,
    ) -> None:
        self._beside_seconds = beside_seconds
        self._threads = threads
        self._run = run
        self._end = end
        self._waiting: deque[PendingCall[T, R]] = deque()
        self._deadlines = Deadlines(threads.patience, self.expire)
        self._gathering: asyncio.TimerHandle | None = None

    async def call(self, item: T) -> R:
        """Have one item done in the next group.

        Raises:
            ServiceUnavailable: as `CallThreads.require_live`; or its result does not come in time.
            Exception: what came of the item, or of its group.
        """
        self._threads.require_live()
        call: PendingCall[T, R] = PendingCall(item)
        self._deadlines.add(call)
        try:
            self.enter(call)
            return await call.answer
        finally:
            self._deadlines.remove(call)
            call.give_up()

    def close(self) -> None:
        """Let running groups finish; nothing new is taken."""
        self._threads.close()

    def expire(self, call: PendingCall[T, R]) -> None:
        """Refuse a call whose result did not come in time."""
        call.give_up()
        call.end(ServiceUnavailable())

    def enter(self, call: PendingCall[T, R]) -> None:
        """Let a call wait for its group."""
        self._waiting.append(call)
        self._gather()

    def _gather(self) -> None:
        if self._gathering is None and self._waiting and not self._threads.is_full:
            seconds = self._beside_seconds if self._threads.is_busy else GATHER_SECONDS
            self._gathering = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        self._gathering = None
        group = [self._waiting.popleft() for _ in range(min(LARGEST_GROUP, len(self._waiting)))]
        if group := [call for call in group if not call.is_given_up]:
            done = self._threads.run(partial(self._run, group))
            done.add_done_callback(partial(self._finish, group))
        self._gather()

    def _go_on(self) -> None:
        """A group is done: the calls that have gathered beside it wait no longer."""
        if self._gathering is not None and not self._threads.is_busy:
            self._gathering.cancel()
            self._start()
        else:
            self._gather()

    def _finish(self, group: list[PendingCall[T, R]], done: asyncio.Future[Sequence[R | Exception]]) -> None:
        self._go_on()
        for call, result in zip(group, results_of(done, len(group)), strict=True):
            self._end(call, result)


class Coalescer(Gatherer[T, R]):
    """Turns `bulk`, which takes and returns lists, into a call for one item."""

    def __init__(
        self,
        bulk: Callable[[list[T]], Sequence[R | Exception]],
        threads: CallThreads,
        beside_seconds: float = BESIDE_SECONDS,
    ) -> None:
        super().__init__(threads, self._run_all, PendingCall[T, R].end, beside_seconds)
        self._bulk = bulk

    def _run_all(self, calls: list[PendingCall[T, R]]) -> Sequence[R | Exception]:
        """Run a group; when the database refuses one of its items, every item runs alone."""
        try:
            return self._bulk([call.item for call in calls])
        except OUTAGES:
            raise
        except DBAPIError:
            if len(calls) == 1:
                raise
            return [self._alone(call.item) for call in calls]

    def _alone(self, item: T) -> R | Exception:
        try:
            return self._bulk([item])[0]
        except Exception as error:  # noqa: BLE001  # it is this item's result; the others keep theirs
            return error


def results_of(done: asyncio.Future[Sequence[R | Exception]], count: int) -> Sequence[R | BaseException]:
    """What a group's `count` calls have come to: their results, or for all of them why the group failed."""
    failure = asyncio.CancelledError() if done.cancelled() else done.exception()
    return done.result() if failure is None else [failure] * count
