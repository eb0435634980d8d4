"""Retention: delete images, prompts, events and attempts of old jobs; ledger entries stay.

Source: docs/design/pipeline.md, "Retention".

It works in steps, stored objects first: a step that fails in between is repeated as a whole. A step is as
large as it can be done in `STEP_SECONDS`, so a slow storage gets small ones. After each it pauses for as long
as the step took, so that at least half of what the database can do is there for others. A run ends after
`RUN_SECONDS`, whatever is left, because the watchdog ends a process whose loop stands still.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from imagequeue.domain.ids import request_id
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.inputs import fetched_keys
from imagequeue.media.keys import output_key
from imagequeue.media.storage import Storage
from imagequeue.store import recoveries, webhook_targets
from imagequeue.store.jobs import idempotency, retention
from imagequeue.store.jobs.retention import ExpiredJob

STEP_SECONDS = 1.0
"""A step that took longer is followed by one of half as many jobs, another one by one of twice as many.

Far more than a bucket takes to answer, and far less than a run.
"""

MOST_AT_ONCE = 128
"""Jobs in one step: some thousand rows, whose locks and WAL come at once however fast the storage is."""

KEYS_AT_ONCE = 5000
"""Rows of idempotency, of deliveries or of targets that one transaction deletes."""

INTERVAL_SECONDS = 10.0
RUN_SECONDS = 20.0
"""After so long no further step begins; the watchdog allows 60 s (`worker/liveness.py`)."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Deletes old jobs. `days` is `IMAGEQUEUE_RETENTION_DAYS`.

    `clock` gives monotonic seconds, `pause` waits for some.
    """

    engine: Engine
    storage: Storage
    days: int
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep

    def run_once(self) -> int:
        """Forget jobs for `RUN_SECONDS`, and old rows of deliveries, recoveries, targets and idempotency.

        Returns how many jobs.

        Raises:
            StorageUnavailable: no job was forgotten whose objects are still stored.
        """
        until = self.clock() + RUN_SECONDS
        self._forget_submits(until)
        with self.engine.begin() as connection:
            retention.forget_deliveries(connection, self.days, KEYS_AT_ONCE)
            webhook_targets.forget(connection, self.days, KEYS_AT_ONCE)
            recoveries.forget(connection, self.days, KEYS_AT_ONCE)
        return self._forget_jobs(until)

    def _forget_jobs(self, until: float) -> int:
        """Forget jobs in steps until none is left or the time is over; how many."""
        forgotten, at_once, began = 0, 1, self.clock()
        expired = self._expired(at_once)
        while expired:
            self._forget(expired)
            forgotten += len(expired)
            took = self.clock() - began
            if self.clock() > until:
                break
            self.pause(min(took, STEP_SECONDS))
            at_once = max(1, at_once // 2) if took > STEP_SECONDS else min(at_once * 2, MOST_AT_ONCE)
            began = self.clock()
            expired = self._expired(at_once, since=expired[-1].finished_at)
        return forgotten

    def _expired(self, most: int, since: datetime | None = None) -> list[ExpiredJob]:
        with self.engine.begin() as connection:
            return retention.expired_jobs(connection, self.days, most, since)

    def _forget(self, expired: Sequence[ExpiredJob]) -> None:
        self.storage.delete(*(key for job in expired for key in _keys(job)))
        failpoint("retain.deleted")
        with self.engine.begin() as connection:
            retention.forget_jobs(connection, [job.id for job in expired])

    def _forget_submits(self, until: float) -> None:
        """Delete rows of idempotency in steps of one commit each, until none is left or the time is over."""
        gone = KEYS_AT_ONCE
        while gone >= KEYS_AT_ONCE and self.clock() < until:
            with self.engine.begin() as connection:
                gone = idempotency.forget_expired(connection, KEYS_AT_ONCE)


def _keys(job: ExpiredJob) -> Iterator[str]:
    """The keys of every object that the job may have, late duplicates included."""
    name = request_id(job.request.model_id, job.request.operation, job.id)
    for attempt_id in job.attempt_ids:
        for number in range(1, job.request.image_count + 1):
            yield output_key(name, attempt_id, number, job.request.output_format)
    yield from fetched_keys(job.id, job.request)
