"""Threads for blocking calls of one kind, which callers wait for only so long.

A call that the database does not answer holds its thread. Callers do not wait for that: each gives up after
`patience` seconds. Once all threads hang that long, or an attempt to connect has taken its time and failed,
new calls are refused at once for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imagequeue.domain.backoff import BULK_CALLING
from imagequeue.domain.errors import ServiceUnavailable

R = TypeVar("R")

PATIENCE_SECONDS = 5.0
"""What a caller waits, unless it says otherwise."""
SLOW_SECONDS = 1.0
"""An outage that took longer to be noticed keeps everybody else from waiting for a while (`BULK_CALLING`)."""

OUTAGES = (OperationalError, InterfaceError, PoolTimeout)
"""The database is away. Whoever asks it again at once waits as long again."""


class CallThreads:
    """So many threads; `patience` is what a caller waits at most, in seconds. For one event loop.

    `now` is a clock in seconds that never goes back.
    """

    def __init__(
        self,
        name: str,
        count: int,
        patience: float = PATIENCE_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = count
        self.patience = patience
        self._now = now
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._began: dict[asyncio.Future[Any], float] = {}
        self._refuse_until = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a thread has a call."""
        return bool(self._began)

    @property
    def is_full(self) -> bool:
        """Whether every thread has a call."""
        return len(self._began) >= self.count

    def run(self, work: Callable[[], R]) -> asyncio.Future[R]:
        """Run `work` in a thread. What awaits the result must not cancel it: a thread cannot be stopped."""
        began = self._now()
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._began[running] = began
        running.add_done_callback(self._ended)
        return running

    def require_live(self) -> None:
        """Refuse a further call while none could be served.

        Raises:
            ServiceUnavailable: the threads hang, or were slow to find that the database is away.
        """
        if self._hang():
            raise ServiceUnavailable

    @contextlib.asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Wait for a result within the context.

        Raises:
            ServiceUnavailable: as `require_live`; or the result does not come in time.
        """
        self.require_live()
        try:
            async with asyncio.timeout(self.patience):
                yield
        except TimeoutError:
            raise ServiceUnavailable from None

    def close(self) -> None:
        """Let running calls finish; nothing new is taken."""
        self._executor.shutdown(cancel_futures=True)

    def _hang(self) -> bool:
        if self._now() < self._refuse_until:
            return True
        return self.is_full and self._now() - max(self._began.values()) > self.patience

    def _ended(self, running: asyncio.Future[Any]) -> None:
        seconds = self._now() - self._began.pop(running)
        failure = None if running.cancelled() else running.exception()
        if isinstance(failure, OUTAGES) and seconds > SLOW_SECONDS:
            self._refuse_until = self._now() + BULK_CALLING.first_seconds
