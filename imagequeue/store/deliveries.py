"""The outbox: begin the attempts of deliveries that are due, under a fence, and record their outcomes.

Beginning an attempt increments the fence and leases the delivery for as long as the attempt may need. A lease
that ends unrecorded makes the delivery due again, under another fence, and then the earlier attempt cannot be
recorded any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.ids import new_id
from imagequeue.domain.webhook_targets import TargetState
from imagequeue.store.arrays import array
from imagequeue.store.processes import DELIVERY_SLOTS, FRESH_SECONDS
from imagequeue.store.webhook_targets import TargetKey

LEASE_SECONDS = 60
"""When a delivery attempt without a recorded outcome is made again. One takes at most 15 s."""

_LEASES = text(f"""
    SELECT slots, leases.*
    FROM ({DELIVERY_SLOTS}) AS live (slots)
    LEFT JOIN (
        SELECT account_id, target, count(*)::int AS in_flight,
            count(*) FILTER (WHERE attempt_count > 0)::int AS retries,
            min(failures) AS failures, min(latency_seconds) AS latency_seconds
        FROM deliveries LEFT JOIN webhook_targets USING (account_id, target)
        WHERE state = 'PENDING' AND leased_until > statement_timestamp()
        GROUP BY account_id, target
    ) AS leases ON true
""")  # noqa: S608  # ours

_DUE_OF_TARGET = """(
    SELECT id, attempt_count, next_attempt_at
    FROM deliveries
    WHERE state = 'PENDING' AND attempt_count {which} AND account_id = asked.id AND target = asked.target
        AND next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at LIMIT asked.most
)"""

_DUE = text(f"""
    SELECT asked.id AS account_id, asked.target, due.id, due.attempt_count > 0 AS retry
    FROM unnest(
        (SELECT CAST(:accounts AS uuid[])), (SELECT CAST(:targets AS text[])), (SELECT CAST(:most AS int[]))
    ) AS asked (id, target, most)
    CROSS JOIN LATERAL (
        {_DUE_OF_TARGET.format(which="= 0")} UNION ALL {_DUE_OF_TARGET.format(which="> 0")}
    ) AS due
    ORDER BY due.next_attempt_at
""")  # noqa: S608  # likewise

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

# A row that is locked is being recorded, ended or made due anew: it is left out, and never waited for.
_BEGIN = text(f"""
    UPDATE deliveries
    SET fence = fence + 1, next_attempt_at = clock_timestamp() + make_interval(secs => :seconds),
        leased_until = clock_timestamp() + make_interval(secs => :seconds)
    FROM accounts
    WHERE deliveries.id = ANY(ARRAY(
            SELECT id FROM deliveries
            WHERE id = ANY(:ids) AND state = 'PENDING' AND next_attempt_at <= clock_timestamp()
            FOR UPDATE SKIP LOCKED
        )) AND accounts.id = account_id
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

# The rows are locked in one order, because a process that lost its leases may record the same ones. A
# delivery whose attempt is recorded has no lease, so a record that is repeated because its commit got no
# answer changes nothing.
_RECORD = text("""
    WITH made AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:fences AS int[]), CAST(:states AS text[]),
            CAST(:due AS timestamptz[]), CAST(:attempt_ids AS uuid[]), CAST(:started AS timestamptz[]),
            CAST(:latencies AS int[]), CAST(:statuses AS smallint[]),
            CAST(:outcomes AS text[]), CAST(:excerpts AS text[])
        ) AS made (
            id, fence, new_state, due, attempt_id, started_at, latency_ms, http_status, outcome, excerpt
        )
    ), held AS (
        SELECT made.* FROM deliveries JOIN made ON made.id = deliveries.id AND made.fence = deliveries.fence
        WHERE state = 'PENDING' AND leased_until IS NOT NULL
        ORDER BY deliveries.id FOR UPDATE OF deliveries
    ), recorded AS (
        UPDATE deliveries
        SET state = new_state, attempt_count = attempt_count + 1, leased_until = NULL,
            next_attempt_at = coalesce(due, next_attempt_at),
            finished_at = CASE WHEN new_state <> 'PENDING' THEN clock_timestamp() END
        FROM held WHERE deliveries.id = held.id AND deliveries.fence = held.fence AND state = 'PENDING'
        RETURNING held.*, attempt_count
    )
    INSERT INTO delivery_attempts
        (id, delivery_id, number, started_at, latency_ms, http_status, outcome, response_excerpt)
    SELECT attempt_id, id, attempt_count, started_at, latency_ms, http_status, outcome, excerpt FROM recorded
    RETURNING delivery_id
""")

_LEASE_BACK = text("""
    UPDATE deliveries
    SET leased_until = NULL, next_attempt_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :id AND fence = :fence AND state = 'PENDING'
""")


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
class DeliveryRecord:
    """What recording an attempt writes: the delivery's new state, and when its next attempt is due."""

    task: DeliveryTask
    made: DeliveryAttempt
    state: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeasesOfTarget:
    """How many attempts are in flight for a target, how many of them `retries`, and what is known of it."""

    key: TargetKey
    in_flight: int
    retries: int
    state: TargetState


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery that is due: its first attempt, or a `retry`."""

    id: UUID
    key: TargetKey
    retry: bool


def leases(connection: Connection) -> tuple[int, list[LeasesOfTarget]]:
    """How many attempts the live workers can make at a time, and the leases that have not ended, by target.

    There are never more leases than such places.
    """
    rows = connection.execute(_LEASES, {"fresh": FRESH_SECONDS}).all()
    return rows[0].slots, [
        LeasesOfTarget(
            (row.account_id, row.target),
            row.in_flight,
            row.retries,
            TargetState(failures=row.failures or 0, latency_seconds=row.latency_seconds),
        )
        for row in rows
        if row.account_id is not None
    ]


def due(connection: Connection, most: Mapping[TargetKey, int]) -> list[DueDelivery]:
    """The oldest due deliveries of some targets; of each at most so many first attempts, and retries."""
    columns = {
        "accounts": [account for account, _ in most],
        "targets": [target for _, target in most],
        "most": list(most.values()),
    }
    rows = connection.execute(_DUE, columns)
    return [DueDelivery(row.id, (row.account_id, row.target), row.retry) for row in rows]


def end_overdue(connection: Connection, limit: timedelta, most: int) -> int:
    """Let deliveries be DEAD whose age is beyond the limit, at most so many; how many. None is in flight."""
    return connection.execute(_END_OVERDUE, {"limit": limit, "most": most}).rowcount


def begin_attempts(connection: Connection, ids: Sequence[UUID], blocked: str) -> list[DeliveryTask]:
    """Begin attempts of deliveries whose targets are locked, in this order; of those that are still due.

    From now on no earlier attempt of theirs can be recorded. `blocked` is the outcome of an attempt that the
    egress guard stopped. A task has the number of those, because the third one ends the delivery.
    """
    if not ids:
        return []
    rows = connection.execute(_BEGIN, {"ids": list(ids), "blocked": blocked, "seconds": LEASE_SECONDS})
    begun = {row.id: DeliveryTask(*row) for row in rows}
    return [begun[delivery_id] for delivery_id in ids if delivery_id in begun]


def record_attempts(connection: Connection, records: Sequence[DeliveryRecord]) -> set[UUID]:
    """Store outcomes of attempts whose fences still match; their deliveries.

    Of the others a later attempt has begun, they have ended, or the outcome is stored already.
    """
    columns = {
        "ids": array(one.task.id for one in records),
        "fences": array(one.task.fence for one in records),
        "states": array(one.state for one in records),
        "due": array(one.next_attempt_at for one in records),
        "attempt_ids": array(new_id() for _ in records),
        "started": array(one.task.now for one in records),
        "latencies": array(one.made.latency_ms for one in records),
        "statuses": array(one.made.http_status for one in records),
        "outcomes": array(one.made.outcome for one in records),
        "excerpts": array(one.made.response_excerpt for one in records),
    }
    return set(connection.execute(_RECORD, columns).scalars())


def lease_back(connection: Connection, task: DeliveryTask, seconds: float) -> None:
    """After a fault of ours: count no attempt, and let the delivery be due again in `seconds`."""
    connection.execute(_LEASE_BACK, {"id": task.id, "fence": task.fence, "seconds": seconds})
