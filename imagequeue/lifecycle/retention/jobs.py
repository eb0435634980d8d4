"""Retain: after the retention time images, prompts, events and attempts go; money stays.

Source: docs/design/pipeline.md, "Retention".

In small steps, objects first: a step that fails in between is repeated whole. A turn ends after a while,
whatever is left, so that its loop is seen to turn; what it has forgotten by then stays forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from imagequeue.domain.ids import request_id
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.inputs import fetched_keys
from imagequeue.media.keys import output_key
from imagequeue.media.storage import Storage
from imagequeue.store.jobs import idempotency, retention
from imagequeue.store.jobs.retention import ExpiredJob

JOBS_AT_ONCE = 10
KEYS_AT_ONCE = 5000
INTERVAL_SECONDS = 10.0
TURN_SECONDS = 20.0
"""After so long no further step begins; the watchdog allows 60 s (`worker/liveness.py`)."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The verb, with what it needs; `days` is `IMAGEQUEUE_RETENTION_DAYS`."""

    engine: Engine
    storage: Storage
    days: int
    clock: Callable[[], float] = time.monotonic

    def run_once(self) -> int:
        """Forget jobs for a while, and the callbacks and submits that are over; how many jobs.

        Raises:
            StorageUnavailable: nothing was forgotten whose objects are still there.
        """
        until = self.clock() + TURN_SECONDS
        self._forget_submits(until)
        with self.engine.begin() as connection:
            retention.forget_deliveries(connection, self.days, KEYS_AT_ONCE)
        forgotten = 0
        while found := self._forget_some(until):
            forgotten += found
            if self.clock() > until:
                break
        return forgotten

    def _forget_some(self, until: float) -> int:
        with self.engine.begin() as connection:
            expired = retention.expired_jobs(connection, self.days, JOBS_AT_ONCE)
        if not expired:
            return 0
        emptied = self._without_objects(expired, until)
        failpoint("retain.deleted")
        with self.engine.begin() as connection:
            retention.forget_jobs(connection, [job.id for job in emptied])
        return len(emptied)

    def _without_objects(self, expired: Sequence[ExpiredJob], until: float) -> list[ExpiredJob]:
        """The jobs whose objects are deleted now: at least one, however slow the storage is."""
        emptied = list[ExpiredJob]()
        for job in expired:
            if emptied and self.clock() > until:
                break
            self.storage.delete(*_keys(job))
            emptied.append(job)
        return emptied

    def _forget_submits(self, until: float) -> None:
        """In steps of one commit each, until none is left: every submit leaves a row, however many come."""
        gone = KEYS_AT_ONCE
        while gone >= KEYS_AT_ONCE and self.clock() < until:
            with self.engine.begin() as connection:
                gone = idempotency.forget_expired(connection, KEYS_AT_ONCE)


def _keys(job: ExpiredJob) -> Iterator[str]:
    """Every object of a job's own that may be there, late duplicates included."""
    name = request_id(job.request.model_id, job.request.operation, job.id)
    for attempt_id in job.attempt_ids:
        for number in range(1, job.request.image_count + 1):
            yield output_key(name, attempt_id, number, job.request.output_format)
    yield from fetched_keys(job.id, job.request)
