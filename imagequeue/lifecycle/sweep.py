"""Sweep: whatever was lost at an arrow of the pipeline is found here (pipeline.md, "Sweep").

Doorbells that nobody answered are rung again, calls whose process died are settled, deadlines end jobs.
Every step is safe to repeat and safe to race with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from imagequeue.domain.jobs import JobStatus
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.rescue import Rescue
from imagequeue.lifecycle.settle import Settlement
from imagequeue.lifecycle.vigil import Vigil
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store import attempts, deadlines, processes
from imagequeue.store.attempts import Doorbell

log = structlog.get_logger()

AT_ONCE = 500
INTERVAL_SECONDS = 5.0
OVERDUE = "The deadline of the job passed before it was served"


@dataclass(slots=True)
class Sweep:
    """The verb, with what it needs."""

    engine: Engine
    settlement: Settlement
    rescue: Rescue
    release: Callable[[Sequence[Doorbell]], None]
    vigil: Vigil = field(default_factory=Vigil)

    def run_once(self) -> int:
        """Look for everything that needs help once; how much was helped."""
        steps = (self._ring_again, self._end_overdue, self._unspill, self._rescue)
        return sum(step() for step in steps)

    def _ring_again(self) -> int:
        with self.engine.begin() as connection:
            found = [
                *attempts.release_again(connection, AT_ONCE),
                *attempts.wake_sleeping(connection, AT_ONCE),
            ]
        failpoint("sweep.ringing")
        if found:
            self.release(found)
        return len(found)

    def _end_overdue(self) -> int:
        with self.engine.connect() as connection:
            found = deadlines.overdue_jobs(connection, AT_ONCE)
        failpoint("sweep.selected")
        return len(self.settlement.end(found, JobStatus.ERROR, OVERDUE)) if found else 0

    def _unspill(self) -> int:
        try:
            return self.rescue.unspill()
        except StorageUnavailable as error:
            log.warning("storage_away", reason=str(error))
            return 0

    def _rescue(self) -> int:
        try:
            with self.engine.begin() as connection:
                beats = processes.beats(connection)
                dead = self.vigil.observe(beats)
                processes.forget(connection, sorted(dead))
        except DBAPIError:
            self.vigil.restart()
            raise
        with self.engine.connect() as connection:
            lost = attempts.orphaned(connection, sorted(beats.keys() - dead), AT_ONCE)
        for attempt_id in lost:
            self._rescue_one(attempt_id)
        return len(lost)

    def _rescue_one(self, attempt_id: UUID) -> None:
        try:
            self.rescue.rescue(attempt_id)
        except StorageUnavailable as error:
            log.warning("rescue_postponed", attempt_id=str(attempt_id), reason=str(error))
