"""Jobs past their deadline, ended account by account.

Ending a job locks its wallet. One that somebody else has locked must not hold up the jobs of other accounts.
"""

from __future__ import annotations

import time
from collections import defaultdict
from uuid import UUID

import structlog
from sqlalchemy import Engine

from imagequeue.domain.batches import LineError
from imagequeue.domain.jobs import JobStatus
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.store.database import TooSlow, one_statement
from imagequeue.store.jobs import deadlines

log = structlog.get_logger()

AT_ONCE = 500
"""Jobs of one transaction, so that it stays short."""

LOCK_SECONDS = 0.25
"""The wait for a locked row of an account, before its jobs are left to the next pass."""

PASS_SECONDS = 10.0
"""After so long a pass begins nothing more: the watchdog ends loops that stand for 60 s."""

OVERDUE = "The deadline of the job passed before it was served"


def end_overdue(engine: Engine, settlement: Settlement, at_once: int = AT_ONCE) -> int:
    """End the jobs whose deadline has passed; how many."""
    until, ended, locked = time.monotonic() + PASS_SECONDS, 0, set[UUID]()
    while time.monotonic() < until and (found := _overdue(engine, at_once, locked)):
        failpoint("sweep.selected")
        for account_id, job_ids in found.items():
            if time.monotonic() > until:
                break
            try:
                of_account = settlement.end(
                    job_ids, JobStatus.ERROR, OVERDUE, LineError.DEADLINE, lock_seconds=LOCK_SECONDS
                )
            except TooSlow:
                log.warning("overdue_postponed", account_id=str(account_id), jobs=len(job_ids))
                locked.add(account_id)
            else:
                ended += len(of_account)
    return ended


def _overdue(engine: Engine, at_once: int, passed_over: set[UUID]) -> dict[UUID, list[UUID]]:
    """The next jobs that are overdue, by account."""
    by_account = defaultdict[UUID, list[UUID]](list)
    with one_statement(engine) as connection:
        for job_id, account_id in deadlines.overdue_jobs(connection, at_once, passed_over):
            by_account[account_id].append(job_id)
    return by_account
