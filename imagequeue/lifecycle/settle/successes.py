"""Settle successes together: calls of one process that end at the same time, in one transaction.

While one transaction runs, what ends meanwhile gathers for the next one (group commit). So an idle process
settles at once, and a busy one needs its statements, and the wallets' locks, for many jobs at a time.

This is for the plain case alone: a call brought the one image of a live job, and neither a breaker nor a
quota group is to be told. Everything else is settled alone (`settle.py`). So is what the transaction does not
take, because another one holds a lock for long or because something about one of its jobs is wrong: nobody's
settlement waits, or fails, for the sake of another account's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import structlog
from sqlalchemy import Connection

from imagequeue.coalescing import ThreadCoalescer
from imagequeue.domain.jobs import OPEN_ATTEMPTS, AttemptState, JobStatus
from imagequeue.domain.verdicts import Succeeded
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.store.attempts import closings
from imagequeue.store.attempts.closings import AttemptRow, Closing
from imagequeue.store.attempts.fences import Fence
from imagequeue.store.database import locks_within
from imagequeue.store.jobs import settlements
from imagequeue.store.jobs.settlements import LockedJob

log = structlog.get_logger()

MOST = 50
"""In one transaction, so that it holds its locks for milliseconds."""

LOCK_SECONDS = 0.25
"""That a transaction waits for each lock: others hold one for little more than a commit."""

_FENCE = Fence("anyone", OPEN_ATTEMPTS)

Success = tuple[UUID, Succeeded]
"""An attempt, and what came of its call."""


class Successes:
    """The successes of one process. Shared by threads."""

    def __init__(self, settlement: Settlement) -> None:
        self._settlement = settlement
        self.together = ThreadCoalescer(self._settle, most=MOST)

    def settle(self, attempt_id: UUID, outcome: Succeeded) -> bool:
        """Record a success with others; False: it was not recorded, and is to be settled alone."""
        return len(outcome.images) == 1 and self.together.call((attempt_id, outcome))

    def _settle(self, successes: Sequence[Success]) -> list[bool]:
        """Which of them a transaction has recorded."""
        engine = self._settlement.engine
        try:
            with engine.begin() as connection, locks_within(connection, LOCK_SECONDS):
                ended = self._record(connection, dict(successes))
                failpoint("settle.before_commit")
        except Exception as error:  # noqa: BLE001  # each is settled alone, and meets its own fault there
            log.warning("successes_settled_alone", count=len(successes), reason=type(error).__name__)
            return [False] * len(successes)
        failpoint("settle.after_commit")
        if ended:
            self._settlement.announce(list(ended.values()))
        return [attempt_id in ended for attempt_id, _ in successes]

    def _record(self, connection: Connection, outcomes: Mapping[UUID, Succeeded]) -> dict[UUID, UUID]:
        """Settle those that are plain; the jobs that ended by it, by attempt."""
        attempts = closings.read_attempts(connection, list(outcomes))
        jobs = settlements.lock_jobs(connection, [row.job_id for row in attempts])
        plain = _plain(attempts, jobs)
        costs = {row.id: self._settlement.cost(row, outcomes[row.id]) for row in plain}
        closed = closings.close_attempts(connection, costs, Closing(AttemptState.SUCCEEDED), _FENCE)
        new = [(row.job_id, row.id, 1, outcomes[row.id].images[0]) for row in plain if row.id in closed]
        if not new:
            return {}
        settlements.add_images(connection, new)
        images = {job_id: [(1, one.storage_key, one.media_type)] for job_id, _, _, one in new}
        ended = [job for job in jobs if job.id in images]
        self._settlement.job_end.write(connection, ended, JobStatus.COMPLETED, None, images=images)
        return {attempt_id: job_id for job_id, attempt_id, _, _ in new}


def _plain(attempts: Iterable[AttemptRow], jobs: Iterable[LockedJob]) -> list[AttemptRow]:
    """Of each live job of one image one attempt, if nobody is to be told that it succeeded."""
    live = {job.id for job in jobs if job.image_count == 1 and not job.status.is_final}
    by_job = {row.job_id: row for row in attempts if row.job_id in live and not row.is_failing}
    return list(by_job.values())
