"""How long upstream calls take: those that ended, and those that are in flight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from imagequeue.domain.jobs import AttemptState, Lane

# A call to a submit-and-poll upstream occupies its worker slot only until the upstream has taken the request.
_TIMES = text("""
    SELECT deployment,
        avg(extract(epoch FROM finished_at - slot_at))::float8 AS latency,
        avg(extract(epoch FROM
            CASE WHEN upstream_reference IS NOT NULL THEN coalesce(sent_at, finished_at) ELSE finished_at END
            - slot_at
        ))::float8 AS slot_time
    FROM (
        SELECT deployment, finished_at, sent_at, slot_at, upstream_reference FROM attempts
        WHERE state = 'SUCCEEDED' ORDER BY id DESC LIMIT :calls
    ) AS last
    GROUP BY deployment
""")

_IN_FLIGHT = text("""
    SELECT deployment, lane, state, extract(epoch FROM clock_timestamp() - slot_at)::float8 AS age
    FROM attempts WHERE state IN ('RELEASED', 'CALLING', 'SLEEPING')
""")


@dataclass(frozen=True, slots=True)
class CallTime:
    """Seconds from a call's planned start until it has ended, and until its worker slot is free."""

    latency_seconds: float
    slot_seconds: float


@dataclass(frozen=True, slots=True)
class CallInFlight:
    """An open attempt; `age_seconds` counts from its planned start, and is negative before it."""

    deployment: str
    lane: Lane
    state: AttemptState
    age_seconds: float


def call_times(connection: Connection, calls: int) -> Mapping[str, CallTime]:
    """By deployment, the mean times of its calls among the last `calls` successful ones of all."""
    rows = connection.execute(_TIMES, {"calls": calls})
    return {row.deployment: CallTime(row.latency, row.slot_time) for row in rows}


def calls_in_flight(connection: Connection) -> list[CallInFlight]:
    """Every open attempt: at most one for each worker slot, and those that sleep."""
    return [
        CallInFlight(row.deployment, Lane(row.lane), AttemptState(row.state), row.age)
        for row in connection.execute(_IN_FLIGHT)
    ]
