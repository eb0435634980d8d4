"""Tells those who wait that their job's status changed.

One task looks for new events of all watched jobs with one query, at once when Redis rings and every second
anyhow, so neither a lost ring nor a Redis that is away keeps anybody waiting for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from uuid import UUID

from redis import Redis

from api.errors import is_outage, log_unexpected
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.store.requests import StatusEvent
from imagequeue.wakeup import JOBS_FINAL, Listener

LOOK_SECONDS = 1.0

Seen = tuple[UUID, int]
Look = Callable[[list[Seen]], Awaitable[Sequence[StatusEvent]]]
"""Reads the events of jobs behind the last ones seen."""


class Watcher:
    """One who waits for events of one job."""

    def __init__(self, job_id: UUID, after: int) -> None:
        self.job_id = job_id
        self.after = after
        self.news: asyncio.Queue[StatusEvent | None] = asyncio.Queue()

    def tell(self, event: StatusEvent) -> None:
        """Pass an event on, unless it is known already."""
        if event.id > self.after:
            self.after = event.id
            self.news.put_nowait(event)


class Watch:
    """Serves all watchers of a process. For one event loop."""

    def __init__(self, redis: Redis, look: Look) -> None:
        self._look = look
        self._listener = Listener(redis, JOBS_FINAL)
        self._watchers: set[Watcher] = set()
        self._rung = asyncio.Event()
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Look and listen while the context is open."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._listen, args=(loop,), name="watch", daemon=True)
        self._thread.start()
        self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.end_streams()
            self._task.cancel()
            self._listener.interrupt()
            await asyncio.to_thread(self._thread.join)
            self._listener.close()

    @contextlib.contextmanager
    def watching(self, job_id: UUID, after: int) -> contextlib.AbstractContextManager[Watcher]:
        """Watch a job for events behind `after` (0: from its first)."""
        raise NotImplementedError
