"""The delivery log as clients may read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

_DELIVERIES = text("""
    SELECT id, webhook_id, url, state, attempt_count, next_attempt_at, created_at, finished_at
    FROM deliveries WHERE job_id = :job_id ORDER BY created_at, id
""")

_ATTEMPTS = text("""
    SELECT made.delivery_id, made.number, made.started_at, made.latency_ms, made.http_status, made.outcome,
        made.response_excerpt
    FROM unnest(CAST(:ids AS uuid[])) AS asked (id)
    CROSS JOIN LATERAL (
        SELECT * FROM delivery_attempts
        WHERE delivery_id = asked.id AND number < :before ORDER BY number DESC LIMIT :most
    ) AS made
    ORDER BY made.delivery_id, made.number
""")


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One delivery attempt: when it began, how long it took, and what was answered."""

    number: int
    started_at: datetime
    latency_ms: int
    http_status: int | None
    outcome: str
    response_excerpt: str


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """A delivery, and some of its attempts in their order."""

    id: UUID
    webhook_id: str
    url: str
    state: str
    attempt_count: int
    next_attempt_at: datetime
    created_at: datetime
    finished_at: datetime | None
    attempts: Sequence[LoggedAttempt]


def read_log(connection: Connection, job_id: UUID, *, before: int, most: int) -> list[LoggedDelivery]:
    """The deliveries of a job, each with its last `most` attempts of those whose number is below `before`."""
    deliveries = connection.execute(_DELIVERIES, {"job_id": job_id}).all()
    asked = {"ids": [row.id for row in deliveries], "before": before, "most": most}
    attempts: dict[UUID, list[LoggedAttempt]] = {row.id: [] for row in deliveries}
    for row in connection.execute(_ATTEMPTS, asked):
        attempts[row.delivery_id].append(LoggedAttempt(*row[1:]))
    return [LoggedDelivery(*row, attempts=attempts[row.id]) for row in deliveries]
