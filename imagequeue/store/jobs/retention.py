"""What is deleted after the retention time. The ledger stays, and each job's row and final body.

The time of a batch's jobs counts from the end of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.images import ImageRequest

_EXPIRED = text("""
    SELECT jobs.id, jobs.finished_at, flows.model_id, parameters, ARRAY(
            SELECT id FROM attempts WHERE job_id = jobs.id AND state NOT IN ('GIVEN_BACK', 'THROTTLED')
        ) AS attempt_ids
    FROM jobs
    JOIN flows ON flows.id = flow_id
    JOIN job_requests ON job_requests.job_id = jobs.id
    WHERE finished_at >= coalesce(CAST(:since AS timestamptz), '-infinity') AND forgotten_at IS NULL
        AND finished_at < clock_timestamp() - make_interval(days => :days)
        AND NOT EXISTS (
            SELECT FROM attempts WHERE job_id = jobs.id
                AND (attempts.token_returns_at > clock_timestamp() OR attempts.finished_at IS NULL)
        )
        AND NOT EXISTS (
            SELECT FROM events WHERE job_id = jobs.id
                AND events.id > (SELECT min(counted_until) FROM event_totals)
        )
        AND NOT EXISTS (
            SELECT FROM batches WHERE batches.id = flows.batch_id
                AND (ended_at IS NULL OR ended_at > clock_timestamp() - make_interval(days => :days))
        )
    ORDER BY finished_at LIMIT :limit
""")

DEAD_DAYS = 30
"""How long webhooks that could not be delivered stay at least (docs/design/webhooks.md, "Delivery log")."""

_FORGET_DELIVERIES = text("""
    WITH over AS (
        SELECT id FROM deliveries
        WHERE state = :state AND finished_at < clock_timestamp() - make_interval(days => :days)
        ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), logged AS (
        DELETE FROM delivery_attempts USING over WHERE delivery_id = over.id
    )
    DELETE FROM deliveries USING over WHERE deliveries.id = over.id
""")

_FORGET = (
    "DELETE FROM images WHERE job_id = ANY(:ids)",
    "DELETE FROM attempts WHERE job_id = ANY(:ids)",
    "DELETE FROM events WHERE job_id = ANY(:ids)",
    """UPDATE job_requests SET prompt = '', webhook_url = NULL, client_headers = '{}', notes = NULL,
        parameters = parameters - '{options,input_images,mask}'::text[] WHERE job_id = ANY(:ids)""",
    "UPDATE jobs SET forgotten_at = clock_timestamp() WHERE id = ANY(:ids)",
)


@dataclass(frozen=True, slots=True)
class ExpiredJob:
    """A final job older than the retention time, with what the keys of its stored objects are made of.

    `attempt_ids` are those of calls that may have brought an image. `request` has no prompt.
    """

    id: UUID
    finished_at: datetime
    request: ImageRequest
    attempt_ids: Sequence[UUID]


def expired_jobs(
    connection: Connection, days: int, limit: int, since: datetime | None = None
) -> list[ExpiredJob]:
    """The jobs that have been final for more than `days` and are not forgotten yet, oldest first.

    `since`: only those that ended then or later. Whoever goes on where it stopped does not read again what
    its earlier steps have left in the index, which is there until a vacuum.

    A job is left for a later run while one of its attempts is open or has a token out, because the quota
    counts that attempt, and while one of its events is not in the totals (`event_totals.py`).
    """
    rows = connection.execute(_EXPIRED, {"days": days, "limit": limit, "since": since})
    return [
        ExpiredJob(
            row.id,
            row.finished_at,
            ImageRequest.from_parameters(row.model_id, "", row.parameters),
            row.attempt_ids,
        )
        for row in rows
    ]


def forget_jobs(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete what clients sent and got; the ledger, the job's row and its final body stay."""
    for statement in _FORGET:
        connection.execute(text(statement), {"ids": list(ids)})


def forget_deliveries(connection: Connection, days: int, limit: int) -> int:
    """Delete up to `limit` deliveries of each state that ended `days` ago, with their attempts; how many.

    Their own end counts and not their job's, so one that was pending when its job was forgotten goes too.
    """
    least_days = {"DELIVERED": days, "DEAD": max(days, DEAD_DAYS)}
    return sum(
        connection.execute(_FORGET_DELIVERIES, {"state": state, "days": least, "limit": limit}).rowcount
        for state, least in least_days.items()
    )
