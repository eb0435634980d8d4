"""Retention: delete images, prompts, events and attempts of old jobs; ledger entries stay.

Source: docs/design/pipeline.md, "Retention".

It works in small steps, stored objects first: a step that fails in between is repeated as a whole. A run ends
after `RUN_SECONDS`, whatever is left, because the watchdog ends a process whose loop stands still.
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
from imagequeue.store import recoveries, webhook_targets
from imagequeue.store.jobs import idempotency, retention
from imagequeue.store.jobs.retention import ExpiredJob

JOBS_AT_ONCE = 10
"""Jobs in one step: each may have many stored objects, and a failed step is repeated as a whole."""

KEYS_AT_ONCE = 5000
"""Rows of idempotency, of deliveries or of targets that one transaction deletes."""

INTERVAL_SECONDS = 10.0
RUN_SECONDS = 20.0
"""After so long no further step begins; the watchdog allows 60 s (`worker/liveness.py`)."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Deletes old jobs. `days` is `IMAGEQUEUE_RETENTION_DAYS`; `clock` gives monotonic seconds."""

    engine: Engine
    storage: Storage
    days: int
    clock: Callable[[], float] = time.monotonic

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
