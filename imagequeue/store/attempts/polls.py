"""Polls: which attempts are to be asked for, and who asks now. Two never ask for one attempt at a time.

`poll_after` is when the next poll is due. A doorbell takes a lease for the time in which a worker should
answer it, and the worker that begins the poll takes one in its own name (`polled_by`), which its heartbeats
renew for as long as it works on the result. While a lease runs nobody rings for the attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.jobs import Lane
from imagequeue.store.attempts.calls import RELEASE_SECONDS, RENEWED_SECONDS, Doorbell

_IS_LEASED = """
    coalesce(poll_leased_until > clock_timestamp() AND (
        polled_by IS NULL OR EXISTS (SELECT FROM processes WHERE processes.id = polled_by)
    ), false)
"""
"""Whether a sleeping attempt is rung for, or asked for by a process that nobody has found dead."""

_LEARN = text("""
    UPDATE attempts
    SET upstream_reference = coalesce(upstream_reference, :reference),
        poll_after = CASE
            WHEN state = 'SLEEPING' AND coalesce(upstream_reference, :reference) = :reference
            THEN clock_timestamp() ELSE poll_after
        END
    WHERE id = :id AND state IN ('CALLING', 'SLEEPING')
    RETURNING upstream_reference
""")

# The clock of the statement, because the index is not asked for what a volatile function returns.
_IS_DUE = f"state = 'SLEEPING' AND poll_after < statement_timestamp() AND NOT {_IS_LEASED}"

# The recursion walks from one deployment to the next, so that the attempts which are not due are not read.
_COUNT = text(f"""
    WITH RECURSIVE asked AS (
        SELECT lane, most, (
            SELECT min(deployment) FROM attempts WHERE state = 'SLEEPING' AND attempts.lane = given.lane
        ) AS deployment
        FROM unnest(CAST(:lanes AS text[]), CAST(:most AS int[])) AS given (lane, most)
        UNION ALL
        SELECT lane, most, (
            SELECT min(attempts.deployment) FROM attempts
            WHERE state = 'SLEEPING' AND attempts.lane = asked.lane
                AND attempts.deployment > asked.deployment
        )
        FROM asked WHERE deployment IS NOT NULL
    )
    SELECT lane, deployment, (
            SELECT count(*) FROM attempts
            WHERE state = 'SLEEPING' AND attempts.lane = asked.lane
                AND attempts.deployment = asked.deployment
                AND poll_leased_until > statement_timestamp() AND {_IS_LEASED}
        ) AS taken, (
            SELECT count(*) FROM (
                SELECT FROM attempts
                WHERE {_IS_DUE} AND attempts.lane = asked.lane AND attempts.deployment = asked.deployment
                ORDER BY poll_after LIMIT asked.most
            ) AS found
        ) AS due
    FROM asked WHERE deployment IS NOT NULL
""")  # noqa: S608  # constants of this module

_RING = text(f"""
    UPDATE attempts
    SET polled_by = NULL, poll_leased_until = clock_timestamp() + make_interval(secs => :seconds),
        poll_after = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = ANY(ARRAY(
        SELECT due.id
        FROM unnest(CAST(:deployments AS text[]), CAST(:most AS int[])) AS granted (deployment, most)
        CROSS JOIN LATERAL (
            SELECT id FROM attempts
            WHERE {_IS_DUE} AND lane = :lane AND attempts.deployment = granted.deployment
            ORDER BY poll_after LIMIT granted.most FOR UPDATE SKIP LOCKED
        ) AS due
    ))
    RETURNING id, lane
""")  # noqa: S608  # a constant of this module

_BEGIN = text(f"""
    UPDATE attempts
    SET polled_by = :process_id, poll_leased_until = clock_timestamp() + make_interval(secs => :seconds),
        poll_after = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :id AND state = 'SLEEPING' AND (polled_by IS NULL OR NOT {_IS_LEASED})
""")  # noqa: S608  # a constant of this module

_END = text("""
    UPDATE attempts
    SET polled_by = NULL, poll_leased_until = NULL,
        poll_after = clock_timestamp() + make_interval(secs => :seconds),
        poll_failures = CASE WHEN :failed THEN poll_failures + 1 ELSE 0 END
    WHERE id = :id AND state = 'SLEEPING' AND polled_by = :process_id
    RETURNING poll_failures
""")


@dataclass(frozen=True, slots=True)
class PollCounts:
    """Of a lane, by deployment: polls that are rung for or in flight, and those that are due.

    Of those that are due no more are counted than the lane has places.
    """

    taken: Mapping[str, int]
    due: Mapping[str, int]


def any_sleeps(connection: Connection) -> bool:
    """Whether some attempt sleeps, due or not."""
    statement = text("SELECT EXISTS (SELECT FROM attempts WHERE state = 'SLEEPING')")
    return connection.execute(statement).scalar_one()


def count_polls(connection: Connection, places: Mapping[Lane, int]) -> Mapping[Lane, PollCounts]:
    """The polls of the lanes in which an attempt sleeps.

    Args:
        connection: the transaction.
        places: how many polls a lane may have; of a deployment no more that are due are counted.
    """
    values = {"lanes": [lane.value for lane in places], "most": list(places.values())}
    rows = connection.execute(_COUNT, values).all()
    return {
        lane: PollCounts(
            {row.deployment: row.taken for row in rows if row.lane == lane},
            {row.deployment: row.due for row in rows if row.lane == lane},
        )
        for lane in places
        if any(row.lane == lane for row in rows)
    }


def ring_polls(connection: Connection, lane: Lane, granted: Mapping[str, int]) -> list[Doorbell]:
    """Take leases for the doorbells of polls that are due: so many of each deployment, longest due first."""
    values = {
        "lane": lane.value,
        "deployments": list(granted),
        "most": list(granted.values()),
        "seconds": RELEASE_SECONDS,
    }
    return [Doorbell(row.id, Lane(row.lane)) for row in connection.execute(_RING, values)]


def begin_poll(connection: Connection, attempt_id: UUID, process_id: UUID) -> bool:
    """Lease a sleeping attempt to a process; False: another one asks, or the attempt does not sleep."""
    values = {"id": attempt_id, "process_id": process_id, "seconds": RENEWED_SECONDS}
    return connection.execute(_BEGIN, values).rowcount == 1


def end_poll(
    connection: Connection, attempt_id: UUID, process_id: UUID, seconds: float, *, failed: bool
) -> int | None:
    """End a poll without a result; the next one is due in `seconds`.

    Returns:
        How many polls of the attempt have failed in a row; None: the lease is not this process's any more.
    """
    values = {"id": attempt_id, "process_id": process_id, "seconds": seconds, "failed": failed}
    return connection.execute(_END, values).scalar_one_or_none()


def learn_reference(connection: Connection, attempt_id: UUID, reference: str) -> str | None:
    """Store the reference of an open attempt unless it has one, and let it be polled for now.

    Returns:
        The reference that the attempt has now, which may be another one; None: the attempt is not open.
    """
    values = {"id": attempt_id, "reference": reference}
    return connection.execute(_LEARN, values).scalar_one_or_none()
