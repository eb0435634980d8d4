"""Retain: after the retention time images, prompts, events and attempts go; money stays (pipeline.md).

In small steps, objects first: a step that fails in between is repeated whole at the next turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from imagequeue.failpoint import failpoint
from imagequeue.media.keys import output_key
from imagequeue.media.storage import Storage
from imagequeue.store import idempotency, retention
from imagequeue.store.retention import ExpiredJob

JOBS_AT_ONCE = 100
KEYS_AT_ONCE = 5000
INTERVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Retention:
    """The verb, with what it needs; `days` is `IMAGEQUEUE_RETENTION_DAYS`."""

    engine: Engine
    storage: Storage
    days: int

    def run_once(self) -> int:
        """Forget some jobs, and every submit that no repeat can meet any more; how many jobs.

        Raises:
            StorageUnavailable: nothing was forgotten whose objects are still there.
        """
        self._forget_submits()
        with self.engine.connect() as connection:
            expired = retention.expired_jobs(connection, self.days, JOBS_AT_ONCE)
        for key in _keys(expired):
            self.storage.delete(key)
        failpoint("retain.deleted")
        if expired:
            with self.engine.begin() as connection:
                retention.forget_jobs(connection, [job.id for job in expired])
        return len(expired)

    def _forget_submits(self) -> None:
        """In steps of one commit each, until none is left: every submit leaves a row, however many come."""
        gone = KEYS_AT_ONCE
        while gone >= KEYS_AT_ONCE:
            with self.engine.begin() as connection:
                gone = idempotency.forget_expired(connection, KEYS_AT_ONCE)


def _keys(expired: list[ExpiredJob]) -> Iterator[str]:
    """Every object that an attempt may have stored, late duplicates included."""
    for job in expired:
        for attempt_id in job.attempt_ids:
            for number in range(1, job.image_count + 1):
                yield output_key(job.request_id, attempt_id, number, job.output_format)
