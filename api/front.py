"""What one API process holds: the runtime, and the bulk calls that its requests share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeVar, cast
from uuid import UUID

from fastapi import Request
from sqlalchemy import Connection

from api.coalesce import Coalescer
from api.watch import Watch
from imagequeue.domain.errors import ImagequeueError
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.outlook import Estimate
from imagequeue.lifecycle.outlook import Reading
from imagequeue.lifecycle.settle import Settlement
from imagequeue.lifecycle.submission import Accepted, Submission
from imagequeue.lifecycle.submit import submit
from imagequeue.media_urls import media_urls
from imagequeue.runtime import Runtime, open_redis
from imagequeue.store.accounts import StoredKey, keys_by_lookup
from imagequeue.store.requests import RequestStatus, StatusEvent, events_after, read_statuses
from imagequeue.throttle import Throttle
from imagequeue.wakeup import INPUTS_WAITING, JOBS_FINAL, JOBS_WAITING, Bell

CANCELLED = "cancelled"
"""The error of a job that its client cancelled (contract.md, "HTTP")."""

THROTTLE_PATIENCE = 0.25
"""Seconds that a submit waits for Redis at most; then it is not limited (see `throttle`)."""
UPLOAD_THREADS = 4
"""How many submits may have their input images decoded and stored at a time; the others wait in line."""
UPLOAD_PATIENCE = 30.0
"""Seconds after which a submit with input images is told to try again."""

R = TypeVar("R")


class Front:
    """Everything that routes share. Made once per process; `request.app.state.front`."""

    def __init__(self, runtime: Runtime) -> None:
        redis_url = runtime.settings.redis_url.get_secret_value()
        self.runtime = runtime
        self.waiting = Bell(runtime.redis, JOBS_WAITING)
        self.unfetched = Bell(runtime.redis, INPUTS_WAITING)
        self.final = Bell(runtime.redis, JOBS_FINAL)
        self.settlement = Settlement(
            engine=runtime.engine,
            catalog=lambda: runtime.catalog,
            media_url=media_urls(runtime.settings, runtime.keyring),
            announce=lambda job_ids: self.final.ring(*map(str, job_ids)),
        )
        self.submits = Coalescer(self._submit, name="submits")
        self.statuses = Coalescer(self._statuses, name="statuses")
        self.cancels = Coalescer(self._cancel, name="cancels", threads=1)
        self.keys = Coalescer(self._keys, name="keys", threads=1)
        self.limits = Coalescer(
            Throttle(open_redis(redis_url, patience=THROTTLE_PATIENCE)).take, name="limits", threads=1
        )
        self.outlook = Reading(open_redis(redis_url, patience=THROTTLE_PATIENCE))
        self.estimates = Coalescer(self._estimates, name="estimates", threads=1)
        self._queries = Coalescer(self._query, name="queries", most=1)
        self._uploads = Coalescer(
            _work, name="uploads", threads=UPLOAD_THREADS, most=1, patience=UPLOAD_PATIENCE
        )
        self.watch = Watch(open_redis(redis_url), self._look)

    async def query(self, read: Callable[[Connection], R]) -> R:
        """Run a reading function in a worker thread, with a connection of its own."""
        return cast("R", await self._queries.call(read))

    async def beside(self, work: Callable[[], R]) -> R:
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
            self._queries,
            self._uploads,
        ):
            coalescer.close()
        self.waiting.close()
        self.unfetched.close()
        self.final.close()

    def _submit(self, submissions: list[Submission]) -> Sequence[Accepted | ImagequeueError]:
        return submit(self.runtime, submissions, wake=lambda: self._wake(submissions))

    def _wake(self, submissions: Sequence[Submission]) -> None:
        """Dispatchers look for jobs that can be served, workers for those whose inputs are unfetched."""
        unfetched = [one.request.requirement.unfetched for one in submissions]
        if any(unfetched):
            self.unfetched.ring()
        if not all(unfetched):
            self.waiting.ring()

    def _cancel(self, job_ids: list[UUID]) -> Sequence[bool]:
        """Which of the jobs were still live, and are FAILED now."""
        ended = set(self.settlement.end(job_ids, JobStatus.FAILED, CANCELLED))
        return [job_id in ended for job_id in job_ids]

    async def _look(self, seen: Sequence[tuple[UUID, int]]) -> Sequence[StatusEvent]:
        return await self.query(lambda connection: events_after(connection, seen))

    def _statuses(self, job_ids: list[UUID]) -> Sequence[RequestStatus | None]:
        with self.runtime.engine.connect() as connection:
            found = read_statuses(connection, job_ids)
        return [found.get(job_id) for job_id in job_ids]

    def _estimates(self, asked: list[tuple[int, UUID]]) -> Sequence[Estimate]:
        return [self.outlook.estimate(flow_id, job_id) for flow_id, job_id in asked]

    def _keys(self, lookups: list[str]) -> Sequence[StoredKey | None]:
        with self.runtime.engine.connect() as connection:
            found = keys_by_lookup(connection, lookups)
        return [found.get(lookup) for lookup in lookups]

    def _query(self, reads: list[Callable[[Connection], object]]) -> Sequence[object]:
        with self.runtime.engine.connect() as connection:
            return [read(connection) for read in reads]


def _work(items: list[Callable[[], object]]) -> Sequence[object]:
    return [item() for item in items]


def front_of(request: Request) -> Front:
    """The front of the app that serves a request."""
    return request.app.state.front
