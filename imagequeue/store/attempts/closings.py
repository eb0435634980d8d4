"""Closes an attempt by a compare-and-set under a fence, or lets it sleep until an upstream callback comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.jobs import AttemptState
from imagequeue.store.attempts.fences import MAY_END, Fence

_READ_ATTEMPTS = text("""
    SELECT id, job_id, deployment, quota_group, state, created_at, process_id, upstream_reference,
        EXISTS (SELECT FROM deployment_states WHERE name = deployment) OR EXISTS (
            SELECT FROM quota_groups WHERE name = quota_group AND (throttled_in_a_row > 0 OR out_of_quota)
        ) AS is_failing
    FROM attempts WHERE id = ANY(ARRAY(SELECT unnest(CAST(:ids AS uuid[]))))
""")

_OTHER_DEATHS = text("""
    SELECT count(DISTINCT other.process_id)::int
    FROM attempts AS this
    JOIN attempts AS other ON other.job_id = this.job_id AND other.process_id <> this.process_id
    WHERE this.id = :id AND other.process_died
""")

_RETURNS_FROM_NOW = """
    greatest(token_returns_at, clock_timestamp() + (
        SELECT make_interval(secs => window_seconds + guard_seconds + extra_guard_seconds)
        FROM quota_groups WHERE name = quota_group
    ))
"""
"""When the token returns of a call that may have been sent just now."""

_CLOSE_ATTEMPTS = text(f"""
    UPDATE attempts
    SET state = :state, poll_after = NULL, process_died = :process_died,
        finished_at = CASE WHEN state = :state THEN finished_at ELSE clock_timestamp() END,
        http_status = :http_status,
        reason = CASE
            WHEN finished_at IS NULL THEN nullif(concat_ws('; ', CAST(:reason AS text), reason), '')
            ELSE :reason
        END,
        cost_usd = CASE
            WHEN finished_at IS NULL THEN coalesce(cost_usd, charged)
            ELSE coalesce(charged, cost_usd)
        END,
        token_returns_at = CASE
            WHEN :frees_token AND sent_at IS NULL THEN clock_timestamp()
            WHEN sent_at IS NULL AND finished_at IS NULL THEN {_RETURNS_FROM_NOW}
            ELSE token_returns_at
        END
    FROM unnest((SELECT CAST(:ids AS uuid[])), (SELECT CAST(:costs AS numeric[])))
        AS given (attempt_id, charged)
    WHERE id = attempt_id AND state = ANY(ARRAY(SELECT unnest(CAST(:sources AS text[])))) AND {MAY_END}
    RETURNING id
""")  # noqa: S608  # constants of the store

# What an open attempt has of these was noted when its outcome was refused, so closing it keeps both.
_NOTE = text("""
    UPDATE attempts SET reason = :reason, cost_usd = coalesce(:cost_usd, cost_usd)
    WHERE id = :id AND finished_at IS NULL
""")

_TOTAL_DEADLINE = "coalesce(called_at + make_interval(secs => :timeout), call_deadline, clock_timestamp())"
"""The total deadline of a call. Heartbeats may have renewed `call_deadline`, so that it is later."""

# The row as it is under the lock decides, so that no upstream callback is overlooked: with a reference the
# attempt is polled for at once, without one at the call's total deadline.
_LET_SLEEP = text(f"""
    UPDATE attempts
    SET state = 'SLEEPING', process_id = CASE WHEN :died THEN process_id END,
        call_deadline = {_TOTAL_DEADLINE},
        poll_after = CASE WHEN upstream_reference IS NULL THEN {_TOTAL_DEADLINE} ELSE clock_timestamp() END,
        token_returns_at = CASE WHEN sent_at IS NULL THEN {_RETURNS_FROM_NOW} ELSE token_returns_at END
    WHERE id = :id AND state = 'CALLING' AND {MAY_END}
""")  # noqa: S608  # constants of the store


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """What settling needs to know of an attempt.

    `process_id` is the process that calls; of a sleeping attempt, the one whose death left the call in doubt.
    `is_failing`: since its last success the deployment has failed, or its quota group was throttled.
    """

    id: UUID
    job_id: UUID
    deployment: str
    quota_group: str
    state: AttemptState
    created_at: datetime
    process_id: UUID | None
    upstream_reference: str | None
    is_failing: bool


@dataclass(frozen=True, slots=True)
class Closing:
    """How attempts end.

    `frees_token`: certainly no byte was sent. Otherwise, where `sent_at` is unknown, the call may have been
    sent just now, so the token's time runs from now (docs/design/rate-limiting.md, "Sent").
    """

    state: AttemptState
    reason: str | None = None
    http_status: int | None = None
    frees_token: bool = False
    process_died: bool = False


def read_attempt(connection: Connection, attempt_id: UUID) -> AttemptRow | None:
    """Read an attempt; None: the retention has deleted it."""
    return next(iter(read_attempts(connection, [attempt_id])), None)


def read_attempts(connection: Connection, attempt_ids: Sequence[UUID]) -> list[AttemptRow]:
    """Read attempts, in any order, without those that the retention has deleted."""
    rows = connection.execute(_READ_ATTEMPTS, {"ids": list(attempt_ids)})
    return [
        AttemptRow(row[0], row[1], row[2], row[3], AttemptState(row[4]), row[5], row[6], row[7], row[8])
        for row in rows
    ]


def other_deaths(connection: Connection, attempt_id: UUID) -> int:
    """How many processes died while they called for the attempt's job, its own process left out."""
    return connection.execute(_OTHER_DEATHS, {"id": attempt_id}).scalar_one()


def close_attempts(
    connection: Connection, costs: Mapping[UUID, Decimal | None], closing: Closing, fence: Fence
) -> set[UUID]:
    """Compare-and-set the states of attempts; `costs` has what each cost (USD; None: nobody knows).

    Returns those that were closed: the others are closed already, or the fence forbids it.
    """
    if not costs:
        return set()
    values = {
        "ids": list(costs),
        "costs": list(costs.values()),
        "state": closing.state.value,
        "reason": closing.reason,
        "http_status": closing.http_status,
        "frees_token": closing.frees_token,
        "process_died": closing.process_died,
        "sources": [state.value for state in fence.sources],
        **fence.values(),
    }
    return set(connection.execute(_CLOSE_ATTEMPTS, values).scalars())


def note(connection: Connection, attempt_id: UUID, reason: str, cost_usd: Decimal | None) -> None:
    """Store with an open attempt what its call cost (USD), and why it could not be closed."""
    connection.execute(_NOTE, {"id": attempt_id, "reason": reason, "cost_usd": cost_usd})


def let_sleep(
    connection: Connection, attempt_id: UUID, fence: Fence, *, timeout: float | None, died: bool
) -> bool:
    """CALLING -> SLEEPING, unless the fence forbids it: an upstream callback is to bring the reference.

    Args:
        connection: the transaction.
        attempt_id: whose call is in doubt.
        fence: which processes may do this.
        timeout: seconds from the call's start to its total deadline; None: as it stands.
        died: the calling process is dead, and its id stays in the row as the reason.
    """
    values = {"id": attempt_id, "timeout": timeout, "died": died, **fence.values()}
    return connection.execute(_LET_SLEEP, values).rowcount == 1
