"""Redeliver: send the webhooks of a job again, or, as a recovery, those that died in a range of time.

Source: docs/design/webhooks.md, "Redelivery and recovery".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from imagequeue.domain.errors import InvalidRequest, NotFound, TooManyRequests
from imagequeue.store import recoveries, redeliveries
from imagequeue.store.database import locks_within, one_statement
from imagequeue.store.recoveries import Recovery

log = structlog.get_logger()

INTERVAL_SECONDS = 1.0
"""Between two steps of recoveries: a recovery of ten thousand deliveries takes 20 s."""

IDLE_SECONDS = 5.0
"""The same while none is running: a recovery begins this much late, and its client looks again anyway."""

REDELIVERED_AT_ONCE = 500
"""Deliveries that one step makes due. The claim hands them out as places are free, whatever their number."""

MOST_RUNNING = 5
"""Recoveries of an account at a time: each waits in one line with those of all other accounts."""


def redeliver_job(engine: Engine, job_id: UUID, *, lock_seconds: float | None = None) -> int:
    """Let every webhook of a job be due now, with its schedule from the beginning; how many.

    One whose attempt is in flight at this moment is left alone.

    Raises:
        NotFound: the job has no webhook, or its time in the log is over.
        LockTimeout: one of them was not free within `lock_seconds`; nothing has changed.
    """
    with engine.begin() as connection, locks_within(connection, lock_seconds):
        ids = redeliveries.lock_deliveries_of(connection, job_id)
        if not ids:
            raise NotFound("This job has no webhook, or its webhook was deleted after the retention time")
        return len(redeliveries.redeliver(connection, ids))


def start_recovery(  # whose, and which
    engine: Engine, account_id: UUID, since: datetime, until: datetime, *, lock_seconds: float | None = None
) -> Recovery:
    """Ask for the redelivery of all that is dead of the events from `since` to before `until`.

    Raises:
        InvalidRequest: the range is empty; it ends with this moment at the latest.
        TooManyRequests: so many recoveries of the account are running that this one has to wait.
        LockTimeout: another one of the account was being started for `lock_seconds`.
    """
    with engine.begin() as connection, locks_within(connection, lock_seconds):
        if recoveries.count_running(connection, account_id) >= MOST_RUNNING:
            raise TooManyRequests(f"{MOST_RUNNING} recoveries are running already", retry_after=10.0)
        started = recoveries.start(connection, account_id, since, until)
    if started is None:
        raise InvalidRequest("since must be before until, and before now")
    return started


@dataclass(frozen=True, slots=True)
class Recoveries:
    """Takes recoveries forward, a step at a time, each account in its turn. A step is one commit."""

    engine: Engine

    def run_once(self) -> int:
        """Make one step of the recovery that has waited longest; how many deliveries are due by it."""
        with one_statement(self.engine) as connection:
            if not recoveries.any_is_running(connection):
                return 0
        with self.engine.begin() as connection:
            recovery = recoveries.take(connection)
            return self._step(connection, recovery) if recovery else 0

    def _step(self, connection: Connection, recovery: Recovery) -> int:
        dead = redeliveries.lock_dead(connection, recovery, REDELIVERED_AT_ONCE)
        due = redeliveries.redeliver(connection, [one.id for one in dead])
        over = len(dead) < REDELIVERED_AT_ONCE
        last = (dead[-1].created_at, dead[-1].id) if dead else (None, None)
        skipped = len(dead) - len(due)
        recoveries.advance(connection, recovery, redelivered=len(due), skipped=skipped, after=last, over=over)
        if over:
            log.info("webhooks_recovered", recovery_id=str(recovery.id), account_id=str(recovery.account_id))
        return len(due)
