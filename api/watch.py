"""Watch: passes new events of jobs on to the event streams that follow them.

One task reads the new events of all watched jobs with one query: at once on a wake-up in Redis, and every
second anyway. So a lost wake-up, or an outage of Redis, delays an event by a second at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from uuid import UUID

import structlog
from redis import Redis
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.store.jobs.reads import StatusEvent
from imagequeue.wakeup import JOBS_FINAL, WakeupListener

log = structlog.get_logger()

LOOK_SECONDS = 1.0

Seen = Sequence[tuple[UUID, int]]
"""Jobs, each with its last event that was seen (0: none)."""
Look = Callable[[Seen], Awaitable[Sequence[StatusEvent]]]
"""Reads the events of each job behind the last one that was seen of it."""


class Watcher:
    """One event stream: it waits for the events of one job whose ids are above `after`."""

    def __init__(self, job_id: UUID, after: int) -> None:
        self.job_id = job_id
        self.after = after
        self._news: asyncio.Queue[StatusEvent | None] = asyncio.Queue()

    async def next(self, patience: float) -> StatusEvent | None:
        """The next event; None when the process ends.

        Raises:
            TimeoutError: there was none within `patience` seconds.
        """
        async with asyncio.timeout(patience):
            return await self._news.get()

    def tell(self, event: StatusEvent) -> None:
        """Pass an event on, unless it was passed on already."""
        if event.id > self.after:
            self.after = event.id
            self._news.put_nowait(event)

    def end(self) -> None:
        """Say that nothing more comes."""
        self._news.put_nowait(None)


class Watch:
    """Reads events for all watchers of a process. For one event loop."""

    def __init__(self, redis: Redis, look: Look) -> None:
        self._look = look
        self._listener = WakeupListener(redis, JOBS_FINAL)
        self._watchers: set[Watcher] = set()
        self._awake = asyncio.Event()
        self._ended = threading.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listen and look while the context is open."""
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._listen, args=(loop,), name="watch", daemon=True)
        thread.start()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.end()
            task.cancel()
            await asyncio.to_thread(thread.join)
            self._listener.close()

    @contextlib.contextmanager
    def watching(self, job_id: UUID, after: int) -> Generator[Watcher]:
        """Watch a job for its events behind `after` (0: from its first)."""
        watcher = Watcher(job_id, after)
        self._watchers.add(watcher)
        if self._ended.is_set():
            watcher.end()
        self._awake.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def end(self) -> None:
        """End every watcher, because the process ends."""
        self._ended.set()
        self._listener.interrupt()
        for watcher in self._watchers:
            watcher.end()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._awake.wait()
            self._awake.clear()
            if self._watchers:
                await self._look_once()

    async def _look_once(self) -> None:
        watchers = sorted(self._watchers, key=lambda watcher: watcher.after, reverse=True)
        try:  # of several watchers of one job the last one counts: it has seen the fewest events
            events = await self._look([(watcher.job_id, watcher.after) for watcher in watchers])
        except (SQLAlchemyError, ServiceUnavailable) as error:
            log.warning("watch_failed", reason=type(error).__name__)
            return
        for event in events:
            for watcher in watchers:
                if watcher.job_id == event.job_id:
                    watcher.tell(event)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass wake-ups on to the event loop; `_rung` drops those for jobs that are not watched."""
        while not self._ended.is_set():
            names = self._listener.wait_names(LOOK_SECONDS)
            if names and not self._ended.is_set():
                loop.call_soon_threadsafe(self._rung, frozenset(names))

    def _rung(self, names: frozenset[str]) -> None:
        if any(str(watcher.job_id) in names for watcher in self._watchers):
            self._awake.set()
