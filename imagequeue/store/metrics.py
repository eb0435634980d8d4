"""What `/metrics` reads: a few bulk queries, none of which scans history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, text

from imagequeue.domain.ids import uuid7_floor

RECENT_SECONDS = 300
"""How far back calls and deliveries are counted."""

_DEPTH = text("""
    SELECT model_id, lane, status, sum(depth)::bigint AS depth,
        extract(epoch FROM clock_timestamp() - min(oldest))::float8 AS age
    FROM (
        SELECT flow_id, status, count(*) AS depth, (
            SELECT created_at FROM jobs
            WHERE flow_id = queued.flow_id AND status = 'QUEUED' ORDER BY id LIMIT 1
        ) AS oldest
        FROM jobs AS queued WHERE status = 'QUEUED' GROUP BY flow_id, status
        UNION ALL
        SELECT flow_id, status, count(*), min(created_at)
        FROM jobs WHERE status = 'PROCESSING' AND wanted > 0 GROUP BY flow_id, status
    ) AS lines
    JOIN flows ON flows.id = flow_id
    GROUP BY model_id, lane, status
""")

_CALLS = text("""
    SELECT deployment, state, count(*) AS calls,
        count(*) FILTER (WHERE finished_at IS NOT NULL AND called_at IS NOT NULL) AS timed,
        coalesce(sum(extract(epoch FROM finished_at - called_at)), 0)::float8 AS seconds,
        percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
            ORDER BY extract(epoch FROM finished_at - called_at)::float8
        ) AS quantiles
    FROM attempts WHERE id >= :since
    GROUP BY deployment, state
""")

_DELIVERIES = text("""
    SELECT outcome, count(*) AS attempts FROM delivery_attempts WHERE id >= :since GROUP BY outcome
""")

_PENDING = text("""
    SELECT count(*)::int AS pending,
        coalesce(extract(epoch FROM clock_timestamp() - min(next_attempt_at)), 0)::float8 AS overdue
    FROM deliveries WHERE state = 'PENDING'
""")

_WALLETS = text("""
    SELECT coalesce(sum(available), 0), coalesce(sum(held), 0), coalesce(sum(spent), 0) FROM wallets
""")

_PROCESSING = text("""
    SELECT count(*) FROM (
        SELECT id FROM jobs WHERE status = 'PROCESSING' AND wanted > 0
        UNION
        SELECT job_id FROM attempts JOIN jobs ON jobs.id = job_id
        WHERE attempts.state IN ('RELEASED', 'CALLING', 'SLEEPING') AND jobs.status = 'PROCESSING'
    ) AS begun
""")


@dataclass(frozen=True, slots=True)
class Wallets:
    """The sums over all wallets, in US dollars."""

    available: Decimal
    held: Decimal
    spent: Decimal


def queue_depths(connection: Connection) -> Sequence[Row[Any]]:
    """By model, lane and status: how many jobs wait for a call, and the age of the oldest in seconds."""
    return connection.execute(_DEPTH).all()


def recent_calls(connection: Connection) -> Sequence[Row[Any]]:
    """By deployment and state: the attempts of the last `RECENT_SECONDS`, and how long their calls took."""
    return connection.execute(_CALLS, {"since": _since(connection)}).all()


def recent_deliveries(connection: Connection) -> Mapping[str, int]:
    """By outcome: the delivery attempts of the last `RECENT_SECONDS`."""
    rows = connection.execute(_DELIVERIES, {"since": _since(connection)})
    return {row.outcome: row.attempts for row in rows}


def pending_deliveries(connection: Connection) -> tuple[int, float]:
    """How many webhooks wait, and for how many seconds the first has been due (negative: none is)."""
    pending, overdue = connection.execute(_PENDING).one()
    return pending, overdue


def dead_deliveries(connection: Connection) -> int:
    """How many webhooks were given up. They are kept for 30 days at least, or until they are redelivered."""
    return connection.execute(text("SELECT count(*) FROM deliveries WHERE state = 'DEAD'")).scalar_one()


def wallets(connection: Connection) -> Wallets:
    """What all accounts have, hold and have spent."""
    return Wallets(*connection.execute(_WALLETS).one())


def processing_jobs(connection: Connection) -> int:
    """How many jobs are PROCESSING. Each misses images or has an open attempt, and both have an index."""
    return connection.execute(_PROCESSING).scalar_one()


def _since(connection: Connection) -> object:
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return uuid7_floor(now - timedelta(seconds=RECENT_SECONDS))
