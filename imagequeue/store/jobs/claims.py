"""Claiming jobs: lock the first that wait in each chosen flow, and move them on.

Rows that another dispatcher holds are skipped. Dead rows at the front of a flow, which somebody's long
transaction keeps from being vacuumed, are skipped by a cursor per flow (docs/design/pipeline.md, "Tables").
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

_WANTING = text("""
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
    """Take up to `limit` jobs of a flow for a deployment; of the queued ones, those above `cursor`.

    `wary`: the deployment failed lately, so it gets new jobs rather than those that failed before: a row of
    failures is spread over many jobs. `patience`: so many seconds beyond its back-off a job that this
    deployment failed waits for another one.
    """

    flow_id: int
    limit: int
    cursor: UUID
    deployment: str
    recently_failed: bool = False
    patience: float = 0.0


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
    slot_at: datetime
    token_returns_at: datetime
    release_deadline: datetime


def lock_queued(connection: Connection, turns: Sequence[ClaimRequest]) -> list[WaitingJob]:
    """Lock jobs that wait for their first attempt, the oldest of each flow."""
    parameters = {
        "flow_ids": [turn.flow_id for turn in turns],
        "limits": [turn.limit for turn in turns],
        "cursors": [turn.cursor for turn in turns],
    }
    return [WaitingJob(*row) for row in connection.execute(_QUEUED, parameters)] if turns else []


def lock_incomplete(connection: Connection, turns: Sequence[ClaimRequest]) -> list[WaitingJob]:
    """Lock started jobs that want another attempt and need not wait for their deployment to recover."""
    parameters = {
        "flow_ids": [turn.flow_id for turn in turns],
        "limits": [turn.limit for turn in turns],
        "deployments": [turn.deployment for turn in turns],
        "patiences": [turn.patience for turn in turns],
    }
    return [WaitingJob(*row) for row in connection.execute(_WANTING, parameters)] if turns else []


def insert_attempts(connection: Connection, new: Sequence[NewAttempt]) -> None:
    """Move the jobs on and insert their attempts; an attempt row is a token that is out."""
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
        "slot_at": attempt.slot_at,
        "token_returns_at": attempt.token_returns_at,
        "release_deadline": attempt.release_deadline,
    }
