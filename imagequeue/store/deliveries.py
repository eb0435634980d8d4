"""The outbox: claim deliveries that are due, begin each delivery attempt under a fence, record its outcome.

A claim ends when no worker has answered the doorbell in time; then it is rung again, with the same fence.
Beginning an attempt increments the fence and takes a lease for as long as the attempt may need. So of two
doorbells of one delivery the second finds another fence and does nothing, however late either comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, text

from imagequeue.domain.ids import new_id
from imagequeue.store.tables import delivery_attempts

RELEASE_SECONDS = 15
"""When a claimed delivery that no worker has begun is claimed again; the same as for attempts of jobs."""

LEASE_SECONDS = 60
"""When a delivery attempt without a recorded outcome is made again. One takes at most 15 s."""

_CLAIM = """
    UPDATE deliveries
    SET next_attempt_at = clock_timestamp() + make_interval(secs => :seconds),
        leased_until = clock_timestamp() + make_interval(secs => :seconds), begun = false
    WHERE id = ANY(ARRAY(
        SELECT id FROM deliveries
        WHERE state = 'PENDING' AND next_attempt_at <= clock_timestamp() AND {which}
        ORDER BY next_attempt_at LIMIT {limit} FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, fence
"""

_IS_RUNG = "leased_until IS NOT NULL AND NOT begun"
"""Whether a pending delivery has been claimed, and no worker has begun its attempt."""

_RUNG = f"(SELECT count(*) FROM deliveries WHERE state = 'PENDING' AND {_IS_RUNG})"  # noqa: S608  # ours

_CLAIM_UNRUNG = text(
    _CLAIM.format(which=f"NOT ({_IS_RUNG})", limit=f"least(:room, greatest(0, :most - {_RUNG}))")
)

# Of the deliveries that are rung, those beyond `waiting` have no message in the list: so many are rung again.
_CLAIM_AGAIN = text(_CLAIM.format(which=_IS_RUNG, limit=f"least(:room, greatest(0, {_RUNG} - :waiting))"))

_BEGIN = text("""
    UPDATE deliveries
    SET fence = fence + 1, begun = true,
        next_attempt_at = clock_timestamp() + make_interval(secs => :seconds),
        leased_until = clock_timestamp() + make_interval(secs => :seconds)
    FROM accounts
    WHERE deliveries.id = :id AND fence = :fence AND state = 'PENDING' AND leased_until IS NOT NULL
        AND accounts.id = account_id
    RETURNING deliveries.id, fence, account_id, webhook_id, url, body, attempt_count, webhook_secrets,
        clock_timestamp() AS now,
        (SELECT dialect FROM job_requests WHERE job_id = deliveries.job_id) AS dialect,
        (
            SELECT count(*) FROM delivery_attempts
            WHERE delivery_id = deliveries.id AND outcome = :blocked
        ) AS blocked_before
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
    """What Celery carries: which delivery, and the fence that it had when it was claimed."""

    id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class DeliveryTask:
    """What one delivery attempt needs; `webhook_secrets` is still encrypted, `fence` is the attempt's own."""

    id: UUID
    fence: int
    account_id: UUID
    webhook_id: str
    url: str
    body: str
    attempt_count: int
    webhook_secrets: str
    now: datetime
    dialect: str
    blocked_before: int


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt for the delivery log."""

    latency_ms: int
    http_status: int | None
    outcome: str
    response_excerpt: str


def claim_due(connection: Connection, room: int, waiting: int, most: int) -> list[ClaimedDelivery]:
    """Claim deliveries that are due, first those whose doorbell or whose attempt was lost.

    Args:
        connection: the transaction.
        room: the most deliveries to claim.
        waiting: the doorbells that wait in Redis. A delivery that is rung and was not begun in time is
            claimed again only where such deliveries are more than these: otherwise its doorbell may still
            wait.
        most: the most deliveries that may be rung at a time; those rung before count.
    """
    values = {"seconds": RELEASE_SECONDS, "room": room, "waiting": waiting, "most": most}
    again = connection.execute(_CLAIM_AGAIN, values).all()
    unrung = connection.execute(_CLAIM_UNRUNG, values | {"room": room - len(again)}).all()
    return [ClaimedDelivery(row.id, row.fence) for row in (*again, *unrung)]


def begin_attempt(connection: Connection, claimed: ClaimedDelivery, blocked: str) -> DeliveryTask | None:
    """Begin the attempt that a doorbell asks for; from now on no earlier one can be recorded.

    None when another doorbell began it, or the delivery is finished. `blocked` is the outcome of an attempt
    that the egress guard stopped. The task has the number of those, because the third one ends the delivery.
    """
    values = {"id": claimed.id, "fence": claimed.fence, "blocked": blocked, "seconds": LEASE_SECONDS}
    row = connection.execute(_BEGIN, values).one_or_none()
    return DeliveryTask(*row) if row else None


def record_attempt(
    connection: Connection,
    task: DeliveryTask,
    made: DeliveryAttempt,
    *,
    state: str,
    next_attempt_at: datetime | None,
) -> bool:
    """Store the outcome of an attempt if the fence still matches; False: a later attempt has begun."""
    values = {"id": task.id, "fence": task.fence, "state": state, "next_attempt_at": next_attempt_at}
    number = connection.execute(_RECORD, values).scalar_one_or_none()
    if number is None:
        return False
    connection.execute(
        insert(delivery_attempts),
        {
            "id": new_id(),
            "delivery_id": task.id,
            "number": number,
            "latency_ms": made.latency_ms,
            "http_status": made.http_status,
            "outcome": made.outcome,
            "response_excerpt": made.response_excerpt,
        },
    )
    return True


def lease_back(connection: Connection, task: DeliveryTask, seconds: float) -> None:
    """After a fault of ours: count no attempt, and let the delivery be due again in `seconds`."""
    connection.execute(_LEASE_BACK, {"id": task.id, "fence": task.fence, "seconds": seconds})
