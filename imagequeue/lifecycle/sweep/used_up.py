"""Jobs that no failure will end any more: what they still waited for is gone.

A failure ends its job when every deployment has failed it as often as it may. The last deployment that was
left can also leave the catalog, or go out after the job's last failure. Then no further attempt is made whose
failure could say so.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Connection, Engine

from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.verdicts import not_served
from imagequeue.lifecycle.settle.rounds import JobTrouble
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.sweep.overdue import LOCK_SECONDS
from imagequeue.store.database import TooSlow, separate_statements
from imagequeue.store.jobs import failures

log = structlog.get_logger()

JOBS_AT_ONCE = 100
"""Jobs that one step looks at, chosen at random, so that those which still wait hide none for long."""


def end_used_up(engine: Engine, settlement: Settlement) -> int:
    """End those that are found; how many."""
    with separate_statements(engine) as connection:
        over = _over(connection, settlement)
    return sum(_end(settlement, met) for met in over)


def _over(connection: Connection, settlement: Settlement) -> list[JobTrouble]:
    catalog = settlement.catalog()
    most = {one.name: one.max_attempts for one in catalog.deployments}
    met = [
        JobTrouble.read(connection, catalog, job.id, job.model_id, job.requirement)
        for job in failures.used_up_jobs(connection, most, JOBS_AT_ONCE)
    ]
    return [one for one in met if one.rounds.are_over(one.out(connection, one.rounds))]


def _end(settlement: Settlement, met: JobTrouble) -> bool:
    """Unless one of its attempts is open: that one may still bring its images."""

    def is_idle(connection: Connection) -> bool:
        return failures.hold_idle_job(connection, met.job_id)

    error = not_served(met.rounds)
    try:
        ended = settlement.end(
            [met.job_id], JobStatus.ERROR, error, provided=is_idle, lock_seconds=LOCK_SECONDS
        )
    except TooSlow:  # a row of its account is locked: the next pass tries it, and this one the others
        log.warning("used_up_postponed", job_id=str(met.job_id))
        return False
    return bool(ended)
