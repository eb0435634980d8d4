"""Which deployments failed a job: how often, and until when each is not to be asked again.

A row is made when a deployment fails a job, and deleted when the job is final, so the table is as small as
the trouble. The claim looks up its primary key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

_READ = text("""
    SELECT deployment, failures, failed_at,
        coalesce(extract(epoch FROM clock_timestamp() - failed_at), 0)::float8 AS age
    FROM job_failures WHERE job_id = :job_id
""")

_RECORD = text("""
    INSERT INTO job_failures AS known (job_id, deployment, failures, failed_at, not_before)
    VALUES (
        :job_id, :deployment, :counted, CASE WHEN :counted > 0 THEN clock_timestamp() END,
        clock_timestamp() + make_interval(secs => :delay)
    )
    ON CONFLICT (job_id, deployment) DO UPDATE
    SET failures = known.failures + excluded.failures,
        failed_at = coalesce(excluded.failed_at, known.failed_at),
        not_before = greatest(known.not_before, excluded.not_before)
""")

_LET_REPEAT = text("""
    UPDATE job_failures SET not_before = clock_timestamp()
    WHERE job_id = :job_id AND deployment = ANY(:deployments)
""")

# `token_returns_at` finds the group's calls of the last minutes in its index.
_SERVED_OTHERS = text("""
    SELECT EXISTS (
        SELECT FROM job_failures AS failed
        JOIN attempts ON attempts.deployment = failed.deployment
            AND attempts.quota_group = ANY(:groups) AND attempts.token_returns_at > failed.created_at
        WHERE failed.job_id = :job_id AND failed.deployment = ANY(:deployments)
            AND attempts.state = 'SUCCEEDED' AND attempts.finished_at > failed.created_at
            AND attempts.job_id <> failed.job_id
    )
""")

_USED_UP = text("""
    SELECT jobs.id, model_id, requirement
    FROM (
        SELECT DISTINCT job_id
        FROM job_failures
        JOIN unnest(CAST(:deployments AS text[]), CAST(:most AS int[])) AS known (deployment, most)
            USING (deployment)
        WHERE failures >= most
    ) AS failed
    JOIN jobs ON jobs.id = failed.job_id
    JOIN flows ON flows.id = jobs.flow_id
    WHERE status = 'PROCESSING' AND wanted > 0
    ORDER BY random() LIMIT :limit
""")

_HOLD_IDLE = text("""
    SELECT id FROM jobs
    WHERE id = :job_id AND status = 'PROCESSING' AND NOT EXISTS (
        SELECT FROM attempts WHERE job_id = jobs.id AND state IN ('RELEASED', 'CALLING', 'SLEEPING')
    )
    FOR UPDATE
""")


@dataclass(frozen=True, slots=True)
class JobFailures:
    """Of one job at one deployment: how many counted, when the last one did, and how many seconds ago."""

    count: int
    failed_at: datetime | None
    age: float


@dataclass(frozen=True, slots=True)
class TroubledJob:
    """A job that a deployment has failed as often as it may, and what it needs."""

    id: UUID
    model_id: str
    requirement: str


def read_failures(connection: Connection, job_id: UUID) -> Mapping[str, JobFailures]:
    """What a job met, by deployment."""
    rows = connection.execute(_READ, {"job_id": job_id})
    return {row.deployment: JobFailures(row.failures, row.failed_at, row.age) for row in rows}


def record_failure(
    connection: Connection, job_id: UUID, deployment: str, *, counts: bool, delay: float
) -> None:
    """Remember that a deployment failed a job; for `delay` seconds the job does not go there."""
    values = {"job_id": job_id, "deployment": deployment, "counted": int(counts), "delay": delay}
    connection.execute(_RECORD, values)


def let_repeat(connection: Connection, job_id: UUID, deployments: Collection[str]) -> None:
    """End the back-off of a job at some deployments."""
    connection.execute(_LET_REPEAT, {"job_id": job_id, "deployments": sorted(deployments)})


def served_others(
    connection: Connection, job_id: UUID, deployments: Collection[str], groups: Collection[str]
) -> bool:
    """Whether one of these deployments served another job since it failed this one; `groups` are theirs."""
    values = {"job_id": job_id, "deployments": sorted(deployments), "groups": sorted(groups)}
    return connection.execute(_SERVED_OTHERS, values).scalar_one()


def used_up_jobs(connection: Connection, most: Mapping[str, int], limit: int) -> Sequence[TroubledJob]:
    """Waiting jobs that some deployment has failed as often as it may, at random; `most` by deployment."""
    values = {"deployments": list(most), "most": list(most.values()), "limit": limit}
    return [TroubledJob(*row) for row in connection.execute(_USED_UP, values)]


def hold_idle_job(connection: Connection, job_id: UUID) -> bool:
    """Lock a job, if none of its attempts is open."""
    return connection.execute(_HOLD_IDLE, {"job_id": job_id}).one_or_none() is not None
