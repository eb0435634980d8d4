"""Claiming jobs: lock the oldest that wait in each chosen flow, and insert their attempts.

Rows that another dispatcher has locked are skipped. A long transaction keeps dead rows at the front of a flow
from being vacuumed; a cursor for each flow steps over them (docs/design/pipeline.md, "Tables").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, text

from imagequeue.domain.jobs import AttemptState, Lane
from imagequeue.store.tables import attempts

_QUEUED = text("""
    SELECT job.id, job.flow_id, job.wanted
    FROM unnest(CAST(:flow_ids AS int[]), CAST(:limits AS int[]), CAST(:cursors AS uuid[]))
        AS flow (id, quota, cursor)
    CROSS JOIN LATERAL (
        SELECT id, flow_id, wanted FROM jobs
        WHERE flow_id = flow.id AND status = 'QUEUED' AND jobs.id > flow.cursor
            AND (LEAST(start_by, finish_by) IS NULL OR LEAST(start_by, finish_by) > clock_timestamp())
        ORDER BY jobs.id LIMIT flow.quota
        FOR UPDATE SKIP LOCKED
    ) AS job
""")

_INCOMPLETE = text("""
    SELECT job.id, job.flow_id, job.wanted
    FROM unnest(
        CAST(:flow_ids AS int[]), CAST(:limits AS int[]), CAST(:deployments AS text[]),
        CAST(:patiences AS float8[])
    ) AS flow (id, quota, deployment, patience)
    CROSS JOIN LATERAL (
        SELECT id, flow_id, wanted FROM jobs
        WHERE flow_id = flow.id AND status = 'PROCESSING' AND wanted > 0
            AND (finish_by IS NULL OR finish_by > clock_timestamp())
            AND (
                avoid_deployment IS DISTINCT FROM flow.deployment OR not_before IS NULL
                OR not_before + make_interval(secs => flow.patience) <= clock_timestamp()
            )
        ORDER BY jobs.id LIMIT flow.quota
        FOR UPDATE SKIP LOCKED
    ) AS job
""")

_MOVE_ON = text("""
    WITH claim AS (
        SELECT id, sum(taken)::int AS taken
        FROM unnest(CAST(:ids AS uuid[]), CAST(:taken AS int[])) AS claim (id, taken)
        GROUP BY id
    ), moved AS (
        UPDATE jobs
        SET status = 'PROCESSING', wanted = wanted - claim.taken,
            updated_at = CASE WHEN status = 'QUEUED' THEN clock_timestamp() ELSE updated_at END
        FROM claim WHERE jobs.id = claim.id
        RETURNING jobs.id, old.status AS before
    )
    INSERT INTO events (job_id, status) SELECT id, 'PROCESSING' FROM moved WHERE before = 'QUEUED'
""")


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Claim up to `limit` jobs of a flow for a deployment; of the queued ones, those above `cursor`.

    `recently_failed`: the deployment failed lately, so it gets new jobs before those that failed already:
    further failures are spread over many jobs. `patience_seconds`: how long, after its back-off, a job that
    failed here waits for another deployment.
    """

    flow_id: int
    limit: int
    cursor: UUID
    deployment: str
    recently_failed: bool = False
    patience_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job whose row is locked for this transaction."""

    id: UUID
    flow_id: int
    missing_images: int


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """One call that may start at `slot_at`; all times are on the database's clock."""

    id: UUID
    job_id: UUID
    deployment: str
    quota_group: str
    lane: Lane
    image_count: int
    start_at: datetime
    token_returns_at: datetime
    release_deadline: datetime


def lock_queued(connection: Connection, claims: Sequence[ClaimRequest]) -> list[WaitingJob]:
    """Lock jobs that wait for their first attempt, the oldest of each flow."""
    parameters = {
        "flow_ids": [claim.flow_id for claim in claims],
        "limits": [claim.limit for claim in claims],
        "cursors": [claim.cursor for claim in claims],
    }
    return [WaitingJob(*row) for row in connection.execute(_QUEUED, parameters)] if claims else []


def lock_incomplete(connection: Connection, claims: Sequence[ClaimRequest]) -> list[WaitingJob]:
    """Lock started jobs that miss images, unless they still wait for another deployment than this one."""
    parameters = {
        "flow_ids": [claim.flow_id for claim in claims],
        "limits": [claim.limit for claim in claims],
        "deployments": [claim.deployment for claim in claims],
        "patiences": [claim.patience_seconds for claim in claims],
    }
    return [WaitingJob(*row) for row in connection.execute(_INCOMPLETE, parameters)] if claims else []


def insert_attempts(connection: Connection, new: Sequence[NewAttempt]) -> None:
    """Set the jobs to PROCESSING and insert their attempts. Each attempt row is a token that is out."""
    connection.execute(
        _MOVE_ON,
        {"ids": [attempt.job_id for attempt in new], "taken": [attempt.image_count for attempt in new]},
    )
    connection.execute(insert(attempts), [_row(attempt) for attempt in new])


def _row(attempt: NewAttempt) -> dict[str, object]:
    return {
        "id": attempt.id,
        "job_id": attempt.job_id,
        "deployment": attempt.deployment,
        "quota_group": attempt.quota_group,
        "lane": attempt.lane.value,
        "image_count": attempt.image_count,
        "state": AttemptState.RELEASED.value,
        "slot_at": attempt.start_at,
        "token_returns_at": attempt.token_returns_at,
        "release_deadline": attempt.release_deadline,
    }
