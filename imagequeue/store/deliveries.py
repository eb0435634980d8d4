"""The outbox: lease deliveries that are due, begin each delivery attempt under a fence, record its outcome.

A lease ends when no worker has answered the doorbell in time; then it is rung again, with the same fence.
Beginning an attempt increments the fence and renews the lease for as long as the attempt may need. So of two
doorbells of one delivery the second finds another fence and does nothing. A doorbell that comes after its
lease does nothing either, because the place at its target may be another delivery's by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, insert, text

from imagequeue.domain.ids import new_id
from imagequeue.domain.webhook_targets import TargetState
from imagequeue.store.tables import delivery_attempts
from imagequeue.store.webhook_targets import TargetKey

RELEASE_SECONDS = 15
"""When a leased delivery that no worker has begun is leased again; the same as for attempts of jobs."""

LEASE_SECONDS = 60
"""When a delivery attempt without a recorded outcome is made again. One takes at most 15 s."""

_IS_RUNG = "state = 'PENDING' AND leased_until IS NOT NULL AND NOT begun"
"""Whether a pending delivery has been rung, and no worker has begun its attempt."""

_RUNG = text(f"SELECT count(*) FROM deliveries WHERE {_IS_RUNG}")  # noqa: S608  # ours

_LEASES = text("""
    SELECT account_id, target, count(*)::int AS in_flight, count(*) FILTER (WHERE begun)::int AS begun,
        count(*) FILTER (WHERE attempt_count > 0)::int AS retries,
        min(failures) AS failures, min(latency_seconds) AS latency_seconds
    FROM deliveries LEFT JOIN webhook_targets USING (account_id, target)
    WHERE state = 'PENDING' AND leased_until > statement_timestamp()
    GROUP BY account_id, target
""")

_DUE_OF_TARGET = """(
    SELECT id, attempt_count, next_attempt_at, leased_until IS NOT NULL AND NOT begun AS rung
    FROM deliveries
    WHERE state = 'PENDING' AND attempt_count {which} AND account_id = asked.id AND target = asked.target
        AND next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at LIMIT asked.most
)"""

_DUE = text(f"""
    SELECT asked.id AS account_id, asked.target, due.id, due.attempt_count > 0 AS retry, due.rung
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:targets AS text[]), CAST(:most AS int[]))
        AS asked (id, target, most)
    CROSS JOIN LATERAL (
        {_DUE_OF_TARGET.format(which="= 0")} UNION ALL {_DUE_OF_TARGET.format(which="> 0")}
    ) AS due
    ORDER BY due.next_attempt_at
""")  # noqa: S608  # likewise

# A row that is locked is being begun, recorded or ended: it is left out, and never waited for.
_LEASE = text("""
    UPDATE deliveries
    SET next_attempt_at = clock_timestamp() + make_interval(secs => :seconds),
        leased_until = clock_timestamp() + make_interval(secs => :seconds), begun = false
    WHERE id = ANY(ARRAY(
        SELECT id FROM deliveries
        WHERE id = ANY(:ids) AND state = 'PENDING' AND next_attempt_at <= clock_timestamp()
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, fence
""")

_END_OVERDUE = text("""
    UPDATE deliveries SET state = 'DEAD', leased_until = NULL, finished_at = clock_timestamp()
    WHERE state = 'PENDING' AND id = ANY(ARRAY(
        SELECT id FROM deliveries
        WHERE state = 'PENDING' AND aged_from < statement_timestamp() - CAST(:limit AS interval)
            AND coalesce(leased_until <= statement_timestamp(), true)
        ORDER BY aged_from LIMIT :most FOR UPDATE SKIP LOCKED
    ))
""")

_OF_ENDPOINT = "FROM webhook_endpoints WHERE webhook_endpoints.id = endpoint_id"

_BEGIN = text(f"""
    UPDATE deliveries
    SET fence = fence + 1, begun = true,
        next_attempt_at = clock_timestamp() + make_interval(secs => :seconds),
        leased_until = clock_timestamp() + make_interval(secs => :seconds)
    FROM accounts
    WHERE deliveries.id = :id AND fence = :fence AND state = 'PENDING'
        AND leased_until > clock_timestamp() AND accounts.id = account_id
    RETURNING deliveries.id, fence, account_id, target, webhook_id, url, body, attempt_count, schedule_from,
        CASE WHEN endpoint_id IS NULL THEN accounts.webhook_secrets
            ELSE (SELECT webhook_endpoints.webhook_secrets {_OF_ENDPOINT}) END,
        coalesce(CASE WHEN endpoint_id IS NULL THEN accounts.old_secrets_until
            ELSE (SELECT webhook_endpoints.old_secrets_until {_OF_ENDPOINT}) END > clock_timestamp(), false),
        clock_timestamp() AS now,
        (SELECT dialect FROM job_requests WHERE job_id = deliveries.job_id AND endpoint_id IS NULL),
        (
            SELECT count(*) FROM delivery_attempts
            WHERE delivery_id = deliveries.id AND outcome = :blocked
                AND number > deliveries.schedule_from
        ) AS blocked_before
""")  # noqa: S608  # likewise

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
    """What one delivery attempt needs; `webhook_secrets` is still encrypted, `fence` is the attempt's own.

    `schedule_from`: attempts that were made before a redelivery began the schedule again.

    `dialect` is that of the job; None where an endpoint is told, which is done the same way in all of them.

    `webhook_secrets` are those of the endpoint that is told, or else of the account. None: the endpoint is
    deleted.

    `old_secrets_sign`: a rotation overlaps, so all of the secrets sign, and not the first alone.
    """

    id: UUID
    fence: int
    account_id: UUID
    target: str
    webhook_id: str
    url: str
    body: str
    attempt_count: int
    schedule_from: int
    webhook_secrets: str | None
    old_secrets_sign: bool
    now: datetime
    dialect: str | None
    blocked_before: int

    @property
    def target_key(self) -> TargetKey:
        """The target as `webhook_targets` has it."""
        return self.account_id, self.target


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt for the delivery log."""

    latency_ms: int
    http_status: int | None
    outcome: str
    response_excerpt: str


@dataclass(frozen=True, slots=True)
class LeasesOfTarget:
    """How many attempts are in flight for a target, and what is known of it.

    Of the attempts so many were `begun` by a worker, and so many are `retries`.
    """

    key: TargetKey
    in_flight: int
    begun: int
    retries: int
    state: TargetState


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery that is due. `rung`: its doorbell was sent, and no worker began the attempt in time."""

    id: UUID
    key: TargetKey
    retry: bool
    rung: bool


def leases(connection: Connection) -> list[LeasesOfTarget]:
    """The leases that have not ended, by target. There are never more than worker slots."""
    return [
        LeasesOfTarget(
            (row.account_id, row.target),
            row.in_flight,
            row.begun,
            row.retries,
            TargetState(failures=row.failures or 0, latency_seconds=row.latency_seconds),
        )
        for row in connection.execute(_LEASES)
    ]


def rung(connection: Connection) -> int:
    """How many deliveries were rung and not begun, those whose lease has ended included."""
    return connection.execute(_RUNG).scalar_one()


def due(connection: Connection, most: Mapping[TargetKey, int]) -> list[DueDelivery]:
    """The oldest due deliveries of some targets; of each at most so many first attempts, and retries."""
    columns = {
        "accounts": [account for account, _ in most],
        "targets": [target for _, target in most],
        "most": list(most.values()),
    }
    rows = connection.execute(_DUE, columns)
    return [DueDelivery(row.id, (row.account_id, row.target), row.retry, row.rung) for row in rows]


def lease(connection: Connection, ids: Sequence[UUID]) -> list[ClaimedDelivery]:
    """Lease deliveries whose targets are locked, until a worker begins them; those that are still due."""
    rows = connection.execute(_LEASE, {"ids": list(ids), "seconds": RELEASE_SECONDS})
    return [ClaimedDelivery(row.id, row.fence) for row in rows]


def end_overdue(connection: Connection, limit: timedelta, most: int) -> int:
    """Let deliveries be DEAD whose age is beyond the limit, at most so many; how many. None is in flight."""
    return connection.execute(_END_OVERDUE, {"limit": limit, "most": most}).rowcount


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
            "started_at": task.now,
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
