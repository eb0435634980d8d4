"""Claiming jobs: count and lock the oldest that wait in each chosen flow, and insert their attempts.

Rows that another dispatcher has locked are skipped. A long transaction keeps dead rows at the front of a flow
from being vacuumed; a cursor for each flow steps over them (docs/design/pipeline.md, "Tables").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from imagequeue.domain.jobs import Lane
from imagequeue.store.arrays import array

_IS_LIVE = "(LEAST(start_by, finish_by) IS NULL OR LEAST(start_by, finish_by) > clock_timestamp())"
"""Of a QUEUED job: no deadline of its has passed."""

_COUNT_QUEUED = text(f"""
    SELECT flow.id, count(*)::int
    FROM unnest(CAST(:flow_ids AS int[]), CAST(:cursors AS uuid[])) AS flow (id, cursor)
    CROSS JOIN LATERAL (
        SELECT FROM jobs
        WHERE flow_id = flow.id AND status = 'QUEUED' AND jobs.id > flow.cursor AND {_IS_LIVE}
        ORDER BY jobs.id LIMIT :most
    ) AS job
    GROUP BY flow.id
""")  # noqa: S608  # a constant of this module

_QUEUED = text(f"""
    SELECT job.id, job.flow_id, job.wanted
    FROM unnest(
        (SELECT CAST(:flow_ids AS int[])), (SELECT CAST(:limits AS int[])), (SELECT CAST(:cursors AS uuid[]))
    ) AS flow (id, quota, cursor)
    CROSS JOIN LATERAL (
        SELECT id, flow_id, wanted FROM jobs
        WHERE flow_id = flow.id AND status = 'QUEUED' AND jobs.id > flow.cursor AND {_IS_LIVE}
        ORDER BY jobs.id LIMIT flow.quota
        FOR UPDATE SKIP LOCKED
    ) AS job
    ORDER BY job.id
""")  # noqa: S608  # likewise

_IS_INCOMPLETE = """
    status = 'PROCESSING' AND wanted > 0 AND (finish_by IS NULL OR finish_by > clock_timestamp())
"""
"""Of a job: it was begun, and asks for more images than its open attempts bring."""

# Whether some deployment may take the job is found by counting those that may not: of jobs in a back-off
# everywhere, however many there are, none is read into the plan.
_INCOMPLETE = text(f"""
    SELECT job.id, job.flow_id, job.wanted, past.deployments, past.failures, past.waits
    FROM unnest(CAST(:flow_ids AS int[]), CAST(:able AS int[])) AS flow (id, able)
    CROSS JOIN LATERAL (
        SELECT id, flow_id, wanted FROM jobs
        WHERE flow_id = flow.id AND {_IS_INCOMPLETE} AND flow.able > (
            SELECT count(*)
            FROM job_failures AS failed
            JOIN unnest(CAST(:deployments AS text[]), CAST(:allowed AS int[])) AS due (deployment, allowed)
                USING (deployment)
            WHERE failed.job_id = jobs.id
                AND (failed.not_before > clock_timestamp() OR failed.failures >= due.allowed)
        )
        ORDER BY jobs.id LIMIT :most
    ) AS job
    LEFT JOIN LATERAL (
        SELECT array_agg(deployment) AS deployments, array_agg(failures::int) AS failures,
            array_agg(extract(epoch FROM not_before - clock_timestamp())::float8) AS waits
        FROM job_failures WHERE job_id = job.id
    ) AS past ON true
    ORDER BY job.id
""")  # noqa: S608  # likewise

_LOCK_INCOMPLETE = text(f"""
    SELECT jobs.id, jobs.flow_id, jobs.wanted, claim.deployment
    FROM unnest(CAST(:ids AS uuid[]), CAST(:deployments AS text[]), CAST(:allowed AS int[]))
        AS claim (id, deployment, allowed)
    JOIN jobs ON jobs.id = claim.id
    WHERE {_IS_INCOMPLETE} AND NOT EXISTS (
        SELECT FROM job_failures AS failed
        WHERE failed.job_id = jobs.id AND failed.deployment = claim.deployment
            AND (failed.not_before > clock_timestamp() OR failed.failures >= claim.allowed)
    )
    ORDER BY jobs.id
    FOR UPDATE OF jobs SKIP LOCKED
""")  # noqa: S608  # likewise

# The rows are locked since they were chosen, so `before` has their present status. Postgres could return it
# as `old.status`, but only from 18 on.
_INSERT = text("""
    WITH new AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:job_ids AS uuid[]), CAST(:deployments AS text[]),
            CAST(:quota_groups AS text[]), CAST(:lanes AS text[]), CAST(:taken AS int[]),
            CAST(:starts AS timestamptz[]), CAST(:returns AS timestamptz[]), CAST(:deadlines AS timestamptz[])
        ) AS new (id, job_id, deployment, quota_group, lane, taken, start_at, returns_at, deadline)
    ), claim AS (
        SELECT job_id, sum(taken)::int AS taken FROM new GROUP BY job_id
    ), moved AS (
        UPDATE jobs
        SET status = 'PROCESSING', wanted = jobs.wanted - claim.taken,
            updated_at = CASE WHEN jobs.status = 'QUEUED' THEN clock_timestamp() ELSE jobs.updated_at END
        FROM claim JOIN jobs AS before ON before.id = job_id
        WHERE jobs.id = job_id
        RETURNING jobs.id, before.status AS before
    ), entered AS (
        INSERT INTO events (job_id, status) SELECT id, 'PROCESSING' FROM moved WHERE before = 'QUEUED'
    )
    INSERT INTO attempts (id, job_id, deployment, quota_group, lane, image_count, state,
        slot_at, token_returns_at, release_deadline)
    SELECT id, job_id, deployment, quota_group, lane, taken, 'RELEASED',
        start_at, returns_at, deadline
    FROM new
""")


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Take up to `limit` queued jobs of a flow, of those above `cursor`."""

    flow_id: int
    limit: int
    cursor: UUID


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """Take a job that was begun for another attempt at a deployment, which may fail it `allowed` times."""

    job_id: UUID
    deployment: str
    allowed: int


@dataclass(frozen=True, slots=True)
class PastFailures:
    """How often a deployment failed a job; in how many seconds its back-off ends, below 0: ended."""

    count: int
    ends_in: float


@dataclass(frozen=True, slots=True)
class IncompleteJob:
    """A job that was begun and waits for another attempt, with what it met, by deployment."""

    id: UUID
    flow_id: int
    missing_images: int
    past: Mapping[str, PastFailures]


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job whose row is locked for this transaction."""

    id: UUID
    flow_id: int
    missing_images: int


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """One call that may start at `start_at`; all times are on the database's clock."""

    id: UUID
    job_id: UUID
    deployment: str
    quota_group: str
    lane: Lane
    image_count: int
    start_at: datetime
    token_returns_at: datetime
    release_deadline: datetime


def count_queued(
    connection: Connection, flow_ids: Sequence[int], cursors: Sequence[UUID], most: int
) -> Mapping[int, int]:
    """How many jobs above its cursor each flow has queued, counted up to `most`."""
    values = {"flow_ids": list(flow_ids), "cursors": list(cursors), "most": most}
    return {row[0]: row[1] for row in connection.execute(_COUNT_QUEUED, values)} if flow_ids else {}


def incomplete_jobs(
    connection: Connection, able: Mapping[int, int], allowed: Mapping[str, int], most: int
) -> list[IncompleteJob]:
    """The first jobs of each flow that were begun and may go on at some deployment now; the oldest first.

    Args:
        connection: the transaction.
        able: by flow, how many of these deployments can serve it.
        allowed: by deployment, how often it may fail a job.
        most: so many jobs of each flow.
    """
    values = {
        "flow_ids": list(able),
        "able": list(able.values()),
        "deployments": list(allowed),
        "allowed": list(allowed.values()),
        "most": most,
    }
    return [
        IncompleteJob(row.id, row.flow_id, row.wanted, _past(row))
        for row in (connection.execute(_INCOMPLETE, values) if able else ())
    ]


def lock_queued(connection: Connection, requests: Sequence[ClaimRequest]) -> list[WaitingJob]:
    """Lock jobs that wait for their first attempt, the oldest of each flow; the oldest first."""
    values = {
        "flow_ids": [one.flow_id for one in requests],
        "limits": [one.limit for one in requests],
        "cursors": [one.cursor for one in requests],
    }
    return [WaitingJob(*row) for row in connection.execute(_QUEUED, values)] if requests else []


def lock_incomplete(
    connection: Connection, requests: Sequence[RetryRequest]
) -> dict[tuple[UUID, str], WaitingJob]:
    """Lock jobs that may go on at their deployments now, by job and deployment."""
    values = {
        "ids": [one.job_id for one in requests],
        "deployments": [one.deployment for one in requests],
        "allowed": [one.allowed for one in requests],
    }
    rows = connection.execute(_LOCK_INCOMPLETE, values) if requests else ()
    return {(row.id, row.deployment): WaitingJob(row.id, row.flow_id, row.wanted) for row in rows}


def insert_attempts(connection: Connection, new: Sequence[NewAttempt]) -> None:
    """Set the jobs to PROCESSING and insert their attempts. Each attempt row is a token that is out."""
    columns = {
        "ids": array(attempt.id for attempt in new),
        "job_ids": array(attempt.job_id for attempt in new),
        "deployments": array(attempt.deployment for attempt in new),
        "quota_groups": array(attempt.quota_group for attempt in new),
        "lanes": array(attempt.lane.value for attempt in new),
        "taken": array(attempt.image_count for attempt in new),
        "starts": array(attempt.start_at for attempt in new),
        "returns": array(attempt.token_returns_at for attempt in new),
        "deadlines": array(attempt.release_deadline for attempt in new),
    }
    connection.execute(_INSERT, columns)


def _past(row: Row[Any]) -> dict[str, PastFailures]:
    found = zip(row.deployments or (), row.failures or (), row.waits or (), strict=True)
    return {name: PastFailures(count, ends_in) for name, count, ends_in in found}
