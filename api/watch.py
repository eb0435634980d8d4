"""Watch: passes new events of jobs on to those who wait for them, event streams and submits that wait.

On a wake-up in Redis the events of the jobs that it names are read at once. When the connection to Redis is
new those of all watched jobs are, because wake-ups may have been lost before, and else every second, with one
query. So a lost wake-up, or an outage of Redis, delays an event by a second at most, and thousands that wait
cost one query a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Collection, Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from uuid import UUID

import structlog
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from api.coalescer import coalesced
from api.services import ApiServices
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.loops import Loop, no_pause
from imagequeue.redis_server.client import open_redis
from imagequeue.store.database import one_statement
from imagequeue.store.jobs.reads import StatusEvent, events_after
from imagequeue.wakeup import JOBS_FINAL, WakeupListener

log = structlog.get_logger()

LOOK_SECONDS = 1.0

Seen = Sequence[tuple[UUID, int]]
"""Jobs, each with its last event that was seen (0: none)."""


@coalesced(threads=2)
def read_news(services: ApiServices, asked: list[Seen]) -> Sequence[list[StatusEvent]]:
    """The events of each job behind the last one that was seen of it, in order, each once."""
    with one_statement(services.runtime.engine) as connection:
        found = events_after(connection, [one for seen in asked for one in seen])
    events = {event.id: event for event in found}.values()
    return [_behind(dict(seen), events) for seen in asked]


def _behind(after: dict[UUID, int], events: Iterable[StatusEvent]) -> list[StatusEvent]:
    return [event for event in events if event.job_id in after and event.id > after[event.job_id]]


class Watcher:
    """Somebody who waits for the events of one job whose ids are above `after`."""

    def __init__(self, job_id: UUID, after: int) -> None:
        self.job_id = job_id
        self.after = after
        self._news: asyncio.Queue[StatusEvent | None] = asyncio.Queue()

    async def next(self) -> StatusEvent | None:
        """The next event; None: nothing more comes."""
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

    def __init__(self, services: ApiServices, look_seconds: float = LOOK_SECONDS) -> None:
        self._services = services
        self._look_seconds = look_seconds
        redis = open_redis(services.runtime.settings.redis_address)
        self._listener = WakeupListener(redis, JOBS_FINAL)
        self._watchers: dict[UUID, set[Watcher]] = {}
        self._rung: set[UUID] = set()
        self._awake = asyncio.Event()
        self._ended = threading.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listen and look while the context is open."""
        loop = asyncio.get_running_loop()
        listening = Loop("watch", lambda: self._listen_once(loop), no_pause, self._ended)
        thread = listening.start()
        looking = [asyncio.create_task(look()) for look in (self._look_when_rung, self._look_at_all)]
        try:
            yield
        finally:
            self.end()
            for task in looking:
                task.cancel()
            await asyncio.to_thread(thread.join)
            self._listener.close()

    @contextlib.contextmanager
    def watching(self, job_id: UUID, after: int) -> Generator[Watcher]:
        """Watch a job for its events behind `after` (0: from its first)."""
        watcher = Watcher(job_id, after)
        self._watchers.setdefault(job_id, set()).add(watcher)
        if self._ended.is_set():
            watcher.end()
        self._ring({job_id})
        try:
            yield watcher
        finally:
            self._forget(watcher)

    def end(self) -> None:
        """End every watcher, because the process ends."""
        self._ended.set()
        self._listener.interrupt()
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    def _forget(self, watcher: Watcher) -> None:
        watchers = self._watchers[watcher.job_id]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[watcher.job_id]

    async def _look_when_rung(self) -> None:
        """Look at the jobs that were rung. No `Loop`: that one has a thread, watchers have an event loop."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            jobs, self._rung = self._rung, set()
            await self._look_once(jobs & self._watchers.keys())

    async def _look_at_all(self) -> None:
        """Look at all watched jobs, again and again. Thousands take longer; rung ones do not wait."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self._look_once(set(self._watchers))

    async def _look_once(self, jobs: Collection[UUID]) -> None:
        """Read what is new of some jobs; of several watchers of a job the one counts that has seen least."""
        if not jobs:
            return
        try:
            seen = [(job_id, min(one.after for one in self._watchers[job_id])) for job_id in jobs]
            events = await read_news(self._services, seen)
        except (SQLAlchemyError, ServiceUnavailable) as error:
            log.warning("watch_failed", reason=type(error).__name__)
            return
        except Exception:  # a loop outlives whatever its pass meets
            log.exception("watch_failed")
            return
        for event in events:
            for watcher in self._watchers.get(event.job_id, ()):
                watcher.tell(event)

    def _listen_once(self, loop: asyncio.AbstractEventLoop) -> int:
        """Pass rings on to the event loop."""
        heard = self._listener.hear(LOOK_SECONDS)
        if heard is None or self._ended.is_set():
            return 0
        loop.call_soon_threadsafe(self._ring_all if heard.missed else self._ring, set(_ids(heard.names)))
        return len(heard.names)

    def _ring_all(self, jobs: AbstractSet[UUID]) -> None:
        """Have all watched jobs looked at now, not only those that were named."""
        self._ring(jobs | self._watchers.keys())

    def _ring(self, jobs: AbstractSet[UUID]) -> None:
        """Have the jobs looked at now; rings of jobs that nobody watches wake nobody."""
        if rung := jobs & self._watchers.keys():
            self._rung |= rung
            self._awake.set()


def _ids(names: Iterable[str]) -> Iterator[UUID]:
    """The ids of jobs; a name that is none was sent by nobody of ours."""
    for name in names:
        with contextlib.suppress(ValueError):
            yield UUID(name)


def watch_of(request: Request) -> Watch:
    """The watch of the app that serves a request."""
    return request.app.state.watch
