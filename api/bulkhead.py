"""Isolates slow work in threads of its own, one call at a time in each, so that nothing else waits for it.

Of threads that several accounts use, one account gets half at most: its further calls wait in a line of its
own, and another account's call finds a thread however many those are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from api.call_threads import PATIENCE_SECONDS, CallThreads
from api.services import ApiServices
from api.shares import served_account
from imagequeue.domain.errors import ServiceUnavailable

T = TypeVar("T")
R = TypeVar("R")


def isolated(
    *, what: str, threads: int, patience: float = PATIENCE_SECONDS
) -> Callable[[Callable[[ApiServices, T], R]], Callable[[ApiServices, T], Coroutine[Any, Any, R]]]:
    """Make a blocking function into a call that runs in threads of its own.

    Each process has so many threads for it, from its first call until the process ends; `patience` is what a
    caller waits at most, in seconds; `what` names the calls to clients, in the plural.
    """

    def define(work: Callable[[ApiServices, T], R]) -> Callable[[ApiServices, T], Coroutine[Any, Any, R]]:
        def opened(_: ApiServices) -> Bulkhead:
            return Bulkhead(CallThreads(work.__name__, threads, patience), what)

        @wraps(work)
        async def call(services: ApiServices, item: T) -> R:
            return await services.opened(opened).call(partial(work, services, item))

        return call

    return define


class Bulkhead:
    """Runs one call at a time in each of its threads; the others wait in line. For one event loop."""

    def __init__(self, threads: CallThreads, what: str = "calls") -> None:
        self._threads = threads
        self._what = what
        self._free = asyncio.Semaphore(threads.count)
        self._of_one_account = max(1, threads.count // 2)
        self._by_account: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def call(self, work: Callable[[], R]) -> R:
        """Run blocking work as soon as a thread is free. Work that was given up in line is never begun.

        Raises:
            ServiceUnavailable: as `CallThreads.waiting`; says so where the account's share was not free.
            Exception: what `work` raised.
        """
        share, has_turn = self._share(), False
        try:
            async with self._threads.waiting():
                await share.acquire()
                has_turn = True
                return await self._run(work, share)
        except ServiceUnavailable:
            if has_turn or not share.locked():
                raise
            most = f"{self._of_one_account} {self._what} running, the most at a time"
            raise ServiceUnavailable(f"This account has {most}; try again") from None

    def close(self) -> None:
        """Let running work finish; nothing new is taken."""
        self._threads.close()

    def _share(self) -> asyncio.Semaphore:
        """The share of the account that is served; what is done for no account may use all threads."""
        account_id = served_account()
        if account_id is None:
            return asyncio.Semaphore(1)
        return self._by_account.setdefault(account_id, asyncio.Semaphore(self._of_one_account))

    async def _run(self, work: Callable[[], R], share: asyncio.Semaphore) -> R:
        """Run the work when a thread is free. The share is given back with the thread, or if nobody waits."""
        try:
            await self._free.acquire()
        except BaseException:
            share.release()
            raise
        running = self._threads.run(work)
        running.add_done_callback(lambda _: self._give_back(share))
        return await asyncio.shield(running)

    def _give_back(self, share: asyncio.Semaphore) -> None:
        share.release()
        self._free.release()
