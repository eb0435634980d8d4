"""What one API process holds: the runtime, and the bulk calls that its requests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from fastapi import Request
from sqlalchemy import Connection, text

from api.coalesce import Coalescer
from api.watch import Seen, Watch
from imagequeue.client_rate_limit import ClientRateLimit
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.errors import ImagequeueError, ServiceUnavailable
from imagequeue.domain.forecast import Estimate
from imagequeue.domain.jobs import JobStatus
from imagequeue.lifecycle.eta.publish import ForecastReader
from imagequeue.lifecycle.generate.upstream_callback import UpstreamCallbacks
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.submit.submission import Accepted, Submission
from imagequeue.lifecycle.submit.submit import submit
from imagequeue.media_urls import media_urls
from imagequeue.runtime import Runtime, open_redis
from imagequeue.store.database import TooSlow, at_most
from imagequeue.store.jobs.reads import (
    JobFilter,
    RequestStatus,
    StatusEvent,
    events_after,
    list_jobs,
    read_statuses,
)
from imagequeue.store.money.accounts import StoredKey, keys_by_lookup
from imagequeue.wakeup import INPUTS_WAITING, JOBS_FINAL, JOBS_WAITING, POLLS_DUE, WakeupPublisher

CANCELLED = "cancelled"
"""The error of a job that its client cancelled (docs/design/contract.md, "Routes")."""

LIMIT_PATIENCE_SECONDS = 0.25
"""Seconds that a submit waits for Redis at most; then it is not limited (see `throttle`)."""
UPLOAD_THREADS = 4
"""How many submits may have their input images decoded and stored at a time; the others wait in line."""
UPLOAD_PATIENCE = 30.0
"""Seconds after which a submit with input images is told to try again."""

LIST_SECONDS = 4.0
"""How long a list may take in the database: less than its asker waits, so nobody works for nobody."""
_SLOW_LIST = "The list takes too long: ask for a shorter time with created_after and created_before"

R = TypeVar("R")


class ApiServices:
    """Everything that routes share. Made once per process; `request.app.state.front`."""

    def __init__(self, runtime: Runtime) -> None:
        redis_url = runtime.settings.redis_url.get_secret_value()
        self.runtime = runtime
        self.waiting = WakeupPublisher(runtime.redis, JOBS_WAITING)
        self.unfetched = WakeupPublisher(runtime.redis, INPUTS_WAITING)
        self.final = WakeupPublisher(runtime.redis, JOBS_FINAL)
        self.due = WakeupPublisher(runtime.redis, POLLS_DUE)
        self.settlement = Settlement(
            engine=runtime.engine,
            catalog=lambda: runtime.catalog,
            media_url=media_urls(runtime.settings, runtime.keyring),
            webhook_bodies=DIALECTS.webhook_bodies(runtime.settings.public_origin),
            announce=lambda job_ids: self.final.publish(*map(str, job_ids)),
        )
        self._callbacks = UpstreamCallbacks(runtime.engine, lambda: runtime.catalog, self.due.publish)
        self.submits = Coalescer(self._submit, name="submits")
        self.statuses = Coalescer(self._statuses, name="statuses")
        self.cancels = Coalescer(self._cancel, name="cancels", threads=1)
        self.keys = Coalescer(self._keys, name="keys", threads=1)
        self.limits = Coalescer(
            ClientRateLimit(open_redis(redis_url, patience=LIMIT_PATIENCE_SECONDS)).take,
            name="limits",
            threads=1,
        )
        self.forecast = ForecastReader(open_redis(redis_url, patience=LIMIT_PATIENCE_SECONDS))
        self.estimates = Coalescer(self._estimates, name="estimates", threads=1)
        self.upstream_callbacks = Coalescer(self._called_back, name="callbacks", threads=1, most=1)
        self._queries = Coalescer(self._query, name="queries", most=1)
        self._lists = Coalescer(self._list, name="lists", most=1)
        self._looks = Coalescer(self._look, name="looks", threads=1)
        self._health = Coalescer(self._ask, name="health", threads=1)
        self._uploads = Coalescer(
            _work, name="uploads", threads=UPLOAD_THREADS, most=1, patience=UPLOAD_PATIENCE
        )
        self.watch = Watch(open_redis(redis_url), self.events)

    async def query(self, read: Callable[[Connection], R]) -> R:
        """Run a reading function in a worker thread, with a connection of its own."""
        return cast("R", await self._queries.call(read))

    async def page(self, wanted: JobFilter) -> list[RequestStatus]:
        """One page of a list; lists have threads of their own, so a slow one delays nothing but lists.

        Raises:
            ServiceUnavailable: it takes longer than `LIST_SECONDS`.
        """
        return await self._lists.call(wanted)

    async def events(self, seen: Seen) -> Sequence[StatusEvent]:
        """The events of each job behind the last one that was seen of it, in order, each once."""
        return await self._looks.call(seen)

    async def ready(self) -> None:
        """Ask the database whether submits can be accepted.

        Raises:
            ServiceUnavailable: it does not answer.
        """
        await self._health.call(None)

    async def prepare_uploads(self, work: Callable[[], R]) -> R:
        """Do what decodes images and waits for the storage in a thread, as far as there is a place.

        Raises:
            ServiceUnavailable: it takes too long.
        """
        return cast("R", await self._uploads.call(work))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Serve while the context is open; at its end what runs in threads is finished."""
        try:
            async with self.watch.running():
                yield
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for coalescer in (
            self.submits,
            self.statuses,
            self.cancels,
            self.keys,
            self.limits,
            self.estimates,
            self.upstream_callbacks,
            self._queries,
            self._lists,
            self._looks,
            self._health,
            self._uploads,
        ):
            coalescer.close()
        self.waiting.close()
        self.unfetched.close()
        self.final.close()
        self.due.close()

    def _submit(self, submissions: list[Submission]) -> Sequence[Accepted | ImagequeueError]:
        return submit(self.runtime, submissions, wake=lambda: self._wake(submissions))

    def _wake(self, submissions: Sequence[Submission]) -> None:
        """Dispatchers look for jobs that can be served, workers for those whose inputs are unfetched."""
        unfetched = [one.request.requirement.unfetched for one in submissions]
        if any(unfetched):
            self.unfetched.publish()
        if not all(unfetched):
            self.waiting.publish()

    def _cancel(self, job_ids: list[UUID]) -> Sequence[bool]:
        """Which of the jobs were still live, and are FAILED now."""
        ended = set(self.settlement.end(job_ids, JobStatus.FAILED, CANCELLED))
        return [job_id in ended for job_id in job_ids]

    def _called_back(self, posted: list[tuple[UUID, dict[str, Any]]]) -> Sequence[None]:
        return [self._callbacks.take(attempt_id, body) for attempt_id, body in posted]

    def _statuses(self, job_ids: list[UUID]) -> Sequence[RequestStatus | None]:
        with self.runtime.engine.connect() as connection:
            found = read_statuses(connection, job_ids)
        return [found.get(job_id) for job_id in job_ids]

    def _estimates(self, asked: list[tuple[int, UUID]]) -> Sequence[Estimate]:
        return [self.forecast.estimate(flow_id, job_id) for flow_id, job_id in asked]

    def _keys(self, lookups: list[str]) -> Sequence[StoredKey | None]:
        with self.runtime.engine.connect() as connection:
            found = keys_by_lookup(connection, lookups)
        return [found.get(lookup) for lookup in lookups]

    def _query(self, reads: list[Callable[[Connection], object]]) -> Sequence[object]:
        with self.runtime.engine.connect() as connection:
            return [read(connection) for read in reads]

    def _list(self, lists: list[JobFilter]) -> Sequence[list[RequestStatus]]:
        try:
            with self.runtime.engine.connect() as connection, at_most(connection, LIST_SECONDS):
                return [list_jobs(connection, wanted) for wanted in lists]
        except TooSlow:
            raise ServiceUnavailable(_SLOW_LIST) from None

    def _look(self, asked: list[Seen]) -> Sequence[list[StatusEvent]]:
        with self.runtime.engine.connect() as connection:
            found = events_after(connection, [one for seen in asked for one in seen])
        events = {event.id: event for event in found}.values()
        return [_behind(dict(seen), events) for seen in asked]

    def _ask(self, asked: list[None]) -> Sequence[None]:
        with self.runtime.engine.connect() as connection:
            connection.execute(text("SELECT id FROM jobs LIMIT 1"))
        return asked


def _behind(after: dict[UUID, int], events: Iterable[StatusEvent]) -> list[StatusEvent]:
    return [event for event in events if event.job_id in after and event.id > after[event.job_id]]


def _work(items: list[Callable[[], object]]) -> Sequence[object]:
    return [item() for item in items]


def services_of(request: Request) -> ApiServices:
    """The front of the app that serves a request."""
    return request.app.state.services
