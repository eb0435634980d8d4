"""Fetch inputs: download, check and store the input images that a job names by URL.

That happens before the job may be claimed, so a slow address costs no token. Until then the job is QUEUED in
a flow whose requirement no deployment serves; then one transaction moves it to its real flow. When a fetch is
due stands in Postgres, so Celery has no part in it: a worker has places for fetches beside its worker slots
and takes the jobs that are due. A try that is not ended is due again when its lease is over (ADR 15), and
counts as the death of a process. So a try whose result the database does not take now is recorded later.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.backoff import FETCH_RECORDING, INPUT_FETCH, INPUT_STORING
from imagequeue.domain.batches import LineError
from imagequeue.domain.images import ImageRequest, Requirement
from imagequeue.domain.jobs import JobStatus, Lane
from imagequeue.domain.verdicts import MAX_DEATHS, InputRefused
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.inputs import FETCH_SECONDS, Inputs, InputUnavailable
from imagequeue.lifecycle.generate.record_outcome import INCURABLE
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.media.storage import StorageError
from imagequeue.store.database import one_statement
from imagequeue.store.jobs import fetches
from imagequeue.store.jobs.fetches import UnfetchedJob
from imagequeue.store.jobs.insert import FlowKey, flow_ids

log = structlog.get_logger()

PLACES = 8
"""Jobs that a process fetches for at a time, or its free slots if those are fewer; half for one account."""

LEASE_SECONDS = 2 * FETCH_SECONDS
"""Twice what a try may take, so that a lease never ends under a worker that is alive."""

_KILLED = f"The job was ended after {MAX_DEATHS} processes died while fetching its input images"


@dataclass(frozen=True, slots=True)
class Fetching:
    """Fetches for one job. `wake`: tell the dispatchers that it waits; `stopping`: the process is to end."""

    engine: Engine
    inputs: Inputs
    settlement: Settlement
    wake: Callable[[], None]
    stopping: threading.Event
    random: Random = field(default_factory=Random)

    def claim(self, lanes: Collection[Lane], passed_over: Collection[UUID] = ()) -> UnfetchedJob | None:
        """Lease a job whose next try is due; None: no try is due."""
        with one_statement(self.engine) as connection:
            return fetches.claim_unfetched(connection, lanes, passed_over, LEASE_SECONDS)

    def run(self, job: UnfetchedJob) -> None:
        """Make one try and record it; one that is not recorded is due again after its lease."""
        try:
            record = self._tried(job)
        except Exception as error:
            log.exception("fetch_broke", job_id=str(job.id))
            reason = f"a fault of the queue itself: {type(error).__name__}"
            record = partial(self._failed, job, reason, JobStatus.ERROR)
        self._record(job, record)

    def _tried(self, job: UnfetchedJob) -> Callable[[], None]:
        """Make one try; what records its result."""
        if job.deaths > MAX_DEATHS:
            return partial(self._end, job, JobStatus.ERROR, _KILLED)
        try:
            self.inputs.fetch(job.id, ImageRequest.from_parameters(job.model_id, job.prompt, job.parameters))
        except InputRefused as error:
            return partial(self._end, job, JobStatus.FAILED, error.reason)
        except InputUnavailable as error:
            return partial(self._failed, job, str(error), JobStatus.FAILED)
        except StorageError as error:
            log.warning("fetch_not_stored", job_id=str(job.id), reason=str(error))
            return partial(self._put_off, job, INPUT_STORING.first_seconds, failed=False)
        return partial(self._fetched, job)

    def _record(self, job: UnfetchedJob, record: Callable[[], None]) -> None:
        """Record a result for as long as the database needs to take it, or until the process stops."""
        failures = 0
        while True:
            try:
                return record()
            except INCURABLE:
                return log.exception("fetch_refused", job_id=str(job.id))
            except SQLAlchemyError as error:
                failures += 1
                log.warning("fetch_unrecorded", job_id=str(job.id), reason=type(error).__name__)
            except Exception:  # a fault of ours, which must not keep the place that the fetch has taken
                log.exception("fetch_refused", job_id=str(job.id))
                return None
            if self.stopping.wait(FETCH_RECORDING.wait_seconds(failures, self.random)):
                return None

    def _fetched(self, job: UnfetchedJob) -> None:
        requirement = replace(Requirement.parse(job.requirement), unfetched=False)
        flow = FlowKey(job.account_id, job.model_id, str(requirement), job.lane, job.batch_id)
        failpoint("fetch.before_move")
        with self.engine.begin() as connection:
            moved = fetches.set_fetched(connection, job, flow_ids(connection, [flow])[flow])
        if moved:
            self.wake()

    def _failed(self, job: UnfetchedJob, reason: str, at_last: JobStatus) -> None:
        tries = job.failures + 1
        log.info("fetch_failed", job_id=str(job.id), tries=tries, reason=reason)
        if tries >= INPUT_FETCH.tries:
            self._end(job, at_last, f"{reason} ({tries} tries)")
        else:
            self._put_off(job, INPUT_FETCH.wait_seconds(tries, self.random), failed=True)

    def _put_off(self, job: UnfetchedJob, seconds: float, *, failed: bool) -> None:
        with self.engine.begin() as connection:
            fetches.put_off(connection, job, seconds, failed=failed)

    def _end(self, job: UnfetchedJob, status: JobStatus, reason: str) -> None:
        self.settlement.end(
            [job.id],
            status,
            reason,
            LineError.INPUT_IMAGE,
            provided=lambda connection: fetches.hold_lease(connection, job),
        )


@dataclass(slots=True)
class Fetches:
    """The loop of one worker process: as many fetches at a time as it has places.

    `slots` returns the free worker slots of the process: 0 when it stops, or while the storage is away.
    """

    fetching: Fetching
    lanes: Collection[Lane]
    slots: Callable[[], int]
    places: int = PLACES
    _running: Counter[UUID] = field(default_factory=Counter[UUID], init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.places, thread_name_prefix="fetch")

    def run_once(self) -> int:
        """Begin the fetches that are due, while there is a place; how many."""
        begun = 0
        while (job := self._next()) is not None:
            self._pool.submit(self._work, job)
            begun += 1
        return begun

    def _next(self) -> UnfetchedJob | None:
        """Take a place and lease a job for it."""
        with self._lock:
            places = min(self.places, self.slots())
            if self._running.total() >= places:
                return None
            job = self.fetching.claim(self.lanes, self._crowded(places))
            if job is not None:
                self._running[job.account_id] += 1
            return job

    def _crowded(self, places: int) -> list[UUID]:
        most = max(1, places // 2)
        return [account_id for account_id, count in self._running.items() if count >= most]

    def _work(self, job: UnfetchedJob) -> None:
        """Fetch for one job, then for the next that is due: a free place does not wait for the loop."""
        following: UnfetchedJob | None = job
        while following is not None:
            self.fetching.run(following)
            following = self._after(following)

    def _after(self, job: UnfetchedJob) -> UnfetchedJob | None:
        with self._lock:
            self._running[job.account_id] -= 1
            if not self._running[job.account_id]:
                del self._running[job.account_id]
        try:
            return self._next()
        except SQLAlchemyError as error:
            log.warning("fetches_unread", reason=type(error).__name__)
            return None
