"""The outbox: claim deliveries that are due, under a lease and a fence, and record what came of each try."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, text

from imagequeue.domain.ids import new_id
from imagequeue.store.tables import delivery_attempts

LEASE_SECONDS = 60
"""A claimed delivery that nobody records within this time is claimed again; a try takes at most 15 s."""

_CLAIM = text("""
    UPDATE deliveries
    SET fence = fence + 1, next_attempt_at = clock_timestamp() + make_interval(secs => :lease),
        leased_until = clock_timestamp() + make_interval(secs => :lease)
    WHERE id IN (
        SELECT id FROM deliveries
        WHERE state = 'PENDING' AND next_attempt_at <= clock_timestamp()
        ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING id, fence
""")

_READ = text("""
    SELECT deliveries.id, webhook_id, url, body, attempt_count, webhook_secrets, clock_timestamp() AS now,
        (
            SELECT count(*) FROM delivery_attempts
            WHERE delivery_id = deliveries.id AND outcome = :blocked
        ) AS blocked_before
    FROM deliveries JOIN accounts ON accounts.id = account_id
    WHERE deliveries.id = :id AND fence = :fence AND state = 'PENDING' AND leased_until IS NOT NULL
""")

_RECORD = text("""
    UPDATE deliveries
    SET state = :state, attempt_count = attempt_count + 1, leased_until = NULL,
        next_attempt_at = coalesce(:next_attempt_at, next_attempt_at),
        finished_at = CASE WHEN :state <> 'PENDING' THEN clock_timestamp() END
    WHERE id = :id AND fence = :fence AND state = 'PENDING'
    RETURNING attempt_count
""")

_LEASE_BACK = text("""
    UPDATE deliveries
    SET leased_until = NULL, next_attempt_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :id AND fence = :fence AND state = 'PENDING'
""")


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """What Celery carries: which delivery, under which fence."""

    id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything that one try needs; `webhook_secrets` is still encrypted."""

    id: UUID
    webhook_id: str
    url: str
    body: str
    attempt_count: int
    webhook_secrets: str
    now: datetime
    blocked_before: int


@dataclass(frozen=True, slots=True)
class Try:
    """One try for the delivery log."""

    latency_ms: int
    http_status: int | None
    outcome: str
    response_excerpt: str


def claim_due(connection: Connection, limit: int) -> list[ClaimedDelivery]:
    """Take deliveries that are due; whoever claimed one before can no longer record."""
    rows = connection.execute(_CLAIM, {"lease": LEASE_SECONDS, "limit": limit})
    return [ClaimedDelivery(row.id, row.fence) for row in rows]


def read_parcel(connection: Connection, claimed: ClaimedDelivery, blocked: str) -> Parcel | None:
    """Read a claimed delivery; None when it was claimed anew or is finished. `blocked`: the guard's code."""
    values = {"id": claimed.id, "fence": claimed.fence, "blocked": blocked}
    row = connection.execute(_READ, values).one_or_none()
    return Parcel(*row) if row else None


def record_try(
    connection: Connection,
    claimed: ClaimedDelivery,
    made: Try,
    *,
    state: str,
    next_attempt_at: datetime | None,
) -> bool:
    """Store what a try came to, where the fence still matches; False: somebody else has it."""
    values = {"id": claimed.id, "fence": claimed.fence, "state": state, "next_attempt_at": next_attempt_at}
    number = connection.execute(_RECORD, values).scalar_one_or_none()
    if number is None:
        return False
    connection.execute(
        insert(delivery_attempts),
        {
            "id": new_id(),
            "delivery_id": claimed.id,
            "number": number,
            "latency_ms": made.latency_ms,
            "http_status": made.http_status,
            "outcome": made.outcome,
            "response_excerpt": made.response_excerpt,
        },
    )
    return True


def lease_back(connection: Connection, claimed: ClaimedDelivery, seconds: float) -> None:
    """Our own fault: no try is spent, somebody looks again in some seconds."""
    connection.execute(_LEASE_BACK, {"id": claimed.id, "fence": claimed.fence, "seconds": seconds})
