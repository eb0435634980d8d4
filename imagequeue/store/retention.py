"""What is deleted after the retention time. The ledger stays, and each job's row and final body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.ids import request_id
from imagequeue.domain.images import OutputFormat

_EXPIRED = text("""
    SELECT jobs.id, flows.model_id, parameters ->> 'operation' AS operation,
        parameters ->> 'output_format' AS output_format,
        ARRAY(SELECT id FROM attempts WHERE job_id = jobs.id) AS attempt_ids, image_count
    FROM jobs
    JOIN flows ON flows.id = flow_id
    JOIN job_requests ON job_requests.job_id = jobs.id
    WHERE finished_at < clock_timestamp() - make_interval(days => :days) AND forgotten_at IS NULL
    ORDER BY finished_at LIMIT :limit
""")

_FORGET = (
    "DELETE FROM images WHERE job_id = ANY(:ids)",
    "DELETE FROM attempts WHERE job_id = ANY(:ids)",
    "DELETE FROM events WHERE job_id = ANY(:ids)",
    "DELETE FROM delivery_attempts USING deliveries WHERE delivery_id = deliveries.id AND job_id = ANY(:ids)",
    "DELETE FROM deliveries WHERE job_id = ANY(:ids) AND state <> 'PENDING'",
    """UPDATE job_requests SET prompt = '', webhook_url = NULL, client_headers = '{}',
        parameters = parameters - '{options,input_images,mask}'::text[] WHERE job_id = ANY(:ids)""",
    "UPDATE jobs SET forgotten_at = clock_timestamp() WHERE id = ANY(:ids)",
)


@dataclass(frozen=True, slots=True)
class ExpiredJob:
    """A final job older than the retention time, and what its objects in the storage are named after."""

    id: UUID
    request_id: str
    output_format: OutputFormat
    attempt_ids: Sequence[UUID]
    image_count: int


def expired_jobs(connection: Connection, days: int, limit: int) -> list[ExpiredJob]:
    """The jobs that have been final for more than so many days and are not forgotten yet, oldest first."""
    rows = connection.execute(_EXPIRED, {"days": days, "limit": limit})
    return [
        ExpiredJob(
            row.id,
            request_id(row.model_id, row.operation, row.id),
            row.output_format,
            row.attempt_ids,
            row.image_count,
        )
        for row in rows
    ]


def forget_jobs(connection: Connection, ids: Sequence[UUID]) -> None:
    """Delete what clients sent and got; the ledger, the job's row and its final body stay."""
    for statement in _FORGET:
        connection.execute(text(statement), {"ids": list(ids)})
