"""Isolates slow work in threads of its own, one call at a time in each, so that nothing else waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, TypeVar

from api.call_threads import PATIENCE_SECONDS, CallThreads
from api.services import ApiServices

T = TypeVar("T")
R = TypeVar("R")


def isolated(
    *, threads: int, patience: float = PATIENCE_SECONDS
) -> Callable[[Callable[[ApiServices, T], R]], Callable[[ApiServices, T], Coroutine[Any, Any, R]]]:
    """Make a blocking function into a call that runs in threads of its own.

    Each process has so many threads for it, from its first call until the process ends; `patience` is what a
    caller waits at most, in seconds.
    """

    def define(work: Callable[[ApiServices, T], R]) -> Callable[[ApiServices, T], Coroutine[Any, Any, R]]:
        def opened(_: ApiServices) -> Bulkhead:
            return Bulkhead(CallThreads(work.__name__, threads, patience))

        @wraps(work)
        async def call(services: ApiServices, item: T) -> R:
            return await services.opened(opened).call(partial(work, services, item))

        return call

    return define


class Bulkhead:
    """Runs one call at a time in each of its threads; the others wait in line. For one event loop."""

    def __init__(self, threads: CallThreads) -> None:
        self._threads = threads
        self._free = asyncio.Semaphore(threads.count)

    async def call(self, work: Callable[[], R]) -> R:
        """Run blocking work as soon as a thread is free. Work that was given up in line is never begun.

        Raises:
            ServiceUnavailable: as `CallThreads.waiting`.
            Exception: what `work` raised.
        """
        async with self._threads.waiting():
            await self._free.acquire()
            running = self._threads.run(work)
            running.add_done_callback(lambda _: self._free.release())
            return await asyncio.shield(running)

    def close(self) -> None:
        """Let running work finish; nothing new is taken."""
        self._threads.close()
