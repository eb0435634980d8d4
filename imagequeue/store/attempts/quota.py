"""Quota groups and the tokens that are out. A token is an attempt row.

`lock_group` and `read_groups` are two statements on purpose: the second must start after the lock is held,
because its snapshot, not the lock, decides what it counts (docs/design/rate-limiting.md, "The grant").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from imagequeue.domain.backoff import EXHAUSTED_GROUP
from imagequeue.domain.catalog import QuotaGroup
from imagequeue.domain.quota import GroupState, Quota
from imagequeue.domain.upstream_throttling import Drift, GroupPause

# If window and guard grow, the group is blocked for the difference: earlier calls had the shorter time. A
# block that a 429 of a smaller quota has set ends when the quota is raised.
_UPSERT = text("""
    INSERT INTO quota_groups AS known
        (name, rpm, effective_rpm, window_seconds, guard_seconds, pace, blocked_until)
    VALUES (
        :name, :rpm, :rpm, :window, :guard, :pace,
        CASE WHEN :spent THEN clock_timestamp() + make_interval(secs => :window + :guard) END
    )
    ON CONFLICT (name) DO UPDATE
    SET rpm = excluded.rpm, window_seconds = excluded.window_seconds,
        guard_seconds = excluded.guard_seconds, pace = excluded.pace,
        effective_rpm = CASE
            WHEN known.rpm = excluded.rpm THEN known.effective_rpm ELSE excluded.rpm
        END,
        throttled_in_a_row = CASE WHEN excluded.rpm > known.rpm THEN 0 ELSE known.throttled_in_a_row END,
        out_of_quota = known.out_of_quota AND excluded.rpm <= known.rpm,
        blocked_until = greatest(
            CASE
                WHEN excluded.rpm > known.rpm AND (known.throttled_in_a_row > 0 OR known.out_of_quota)
                THEN NULL
                ELSE known.blocked_until
            END,
            clock_timestamp() + make_interval(secs =>
                excluded.window_seconds + excluded.guard_seconds - known.window_seconds - known.guard_seconds
            )
        )
    WHERE (known.rpm, known.window_seconds, known.guard_seconds, known.pace)
        IS DISTINCT FROM (excluded.rpm, excluded.window_seconds, excluded.guard_seconds, excluded.pace)
""")

_LOCK = text("SELECT 1 FROM quota_groups WHERE name = :name FOR UPDATE")

# The clock is read once, in a query of its own: a volatile function in the condition itself would not be
# looked up in the index, and every attempt ever made would be read. MATERIALIZED, because a subquery may be
# joined last, and then each group has a later `now` than the one before: starts could not be compared.
_READ = text("""
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
    SELECT name, rpm, effective_rpm, window_seconds, guard_seconds, extra_guard_seconds, pace, out_of_quota,
        throttled, throttled_in_a_row, drifts, reason, tokens.out,
        extract(epoch FROM clock.now)::float8 AS now,
        extract(epoch FROM last_slot_at)::float8 AS last_slot,
        extract(epoch FROM blocked_until)::float8 AS blocked_until,
        extract(epoch FROM drifted_at)::float8 AS drifted_at,
        extract(epoch FROM clean_since)::float8 AS clean_since,
        ARRAY(
            SELECT extract(epoch FROM token_returns_at)::float8 FROM attempts
            WHERE quota_group = name AND token_returns_at > clock.now
            ORDER BY token_returns_at
            OFFSET greatest(0, tokens.out - effective_rpm) LIMIT :want
        ) AS returns
    FROM clock
    CROSS JOIN quota_groups
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS out FROM attempts
        WHERE quota_group = name AND token_returns_at > clock.now
    ) AS tokens
    WHERE name = ANY(ARRAY(SELECT unnest(CAST(:names AS text[]))))
""")

_SET_LAST_START = text("""
    UPDATE quota_groups
    SET last_slot_at = greatest(last_slot_at, to_timestamp(:start)),
        blocked_until = CASE
            WHEN out_of_quota THEN greatest(
                blocked_until, to_timestamp(:start) + make_interval(secs => :probe_every)
            )
            ELSE blocked_until
        END
    WHERE name = :name
""")

_SET_DRIFT = text("""
    UPDATE quota_groups
    SET effective_rpm = least(rpm, :effective_rpm), extra_guard_seconds = :extra_guard,
        drifted_at = to_timestamp(:drifted_at), clean_since = to_timestamp(:clean_since),
        drifts = drifts + :drifts
    WHERE name = :name
""")

_PAUSE = text("""
    UPDATE quota_groups
    SET blocked_until = greatest(blocked_until, clock_timestamp() + make_interval(secs => :seconds)),
        throttled = throttled + 1,
        throttled_in_a_row = throttled_in_a_row + CASE WHEN :echo THEN 0 ELSE 1 END,
        throttled_at = CASE WHEN :echo THEN throttled_at ELSE clock_timestamp() END,
        out_of_quota = out_of_quota OR :out_of_quota, reason = :reason
    WHERE name = :name
""")

_IS_ECHO = text("""
    SELECT coalesce(coalesce(sent_at, called_at) <= throttled_at, false)
    FROM attempts JOIN quota_groups ON name = quota_group
    WHERE id = :attempt_id
""")

# The grant of a probe moves the block to `PROBE_SECONDS` after its start. One that ends later is of a 429.
_PROBES_UNTRIED = text("""
    WITH probed AS (
        SELECT name FROM quota_groups JOIN attempts ON name = quota_group
        WHERE out_of_quota AND attempts.id = ANY(:attempt_ids)
            AND sent_at IS NULL AND attempts.created_at > throttled_at
            AND blocked_until < slot_at + make_interval(secs => :probe_every + 0.001)
        ORDER BY name FOR UPDATE OF quota_groups
    )
    UPDATE quota_groups SET blocked_until = clock_timestamp()
    WHERE name IN (SELECT name FROM probed)
""")

# A success of a call that was sent before the last 429 says nothing about what came after it.
_SUCCEEDED = text("""
    UPDATE quota_groups
    SET throttled_in_a_row = 0, out_of_quota = false,
        blocked_until = CASE WHEN out_of_quota THEN clock_timestamp() ELSE blocked_until END
    FROM attempts
    WHERE name = :name AND (throttled_in_a_row > 0 OR out_of_quota)
        AND attempts.id = :attempt_id AND coalesce(sent_at, called_at) > throttled_at
""")

_CALLS_BEFORE = text("""
    SELECT count(*)::int
    FROM attempts AS this
    JOIN quota_groups ON name = this.quota_group
    JOIN attempts AS other ON other.quota_group = this.quota_group AND other.id <> this.id
        AND other.token_returns_at > this.sent_at
        AND other.sent_at > this.sent_at - make_interval(secs => window_seconds)
        AND other.sent_at <= this.sent_at
    WHERE this.id = :attempt_id
""")


@dataclass(frozen=True, slots=True)
class Group:
    """A quota group with `out` tokens out. `quota` is what grants go by: the catalog's, changed by drift."""

    name: str
    rpm: int
    catalog_guard: float
    quota: Quota
    state: GroupState
    drift: Drift
    out: int
    out_of_quota: bool
    throttled: int
    throttled_in_a_row: int
    drifts: int
    reason: str | None


def ensure_groups(connection: Connection, groups: Iterable[QuotaGroup]) -> None:
    """Insert the rows of the catalog's groups, or bring them up to date.

    A new group starts as its `cold_start` says.
    """
    rows = [
        {
            "name": group.name,
            "rpm": group.rpm,
            "window": group.window_seconds,
            "guard": group.guard_ms / 1000,
            "pace": group.pace,
            "spent": group.cold_start == "spent",
        }
        for group in groups
    ]
    if rows:
        connection.execute(_UPSERT, sorted(rows, key=lambda row: str(row["name"])))


def read_groups(connection: Connection, names: Sequence[str], want: int) -> Mapping[str, Group]:
    """Read groups and count their tokens, enough of them to plan `want` starts of each."""
    rows = connection.execute(_READ, {"names": list(names), "want": want})
    return {row.name: _group(row) for row in rows}


def lock_group(connection: Connection, name: str, want: int = 1) -> Group:
    """Lock a group's row until the transaction ends; then read it and count its tokens."""
    connection.execute(_LOCK, {"name": name}).one()
    return read_groups(connection, [name], want)[name]


def set_last_start(connection: Connection, name: str, start: float, probe_every_seconds: float) -> None:
    """Store the last planned start (Unix time, on the database's clock), for pacing.

    While the group is out of quota, that is a probe's: the next one may start `probe_every_seconds` later.
    """
    connection.execute(_SET_LAST_START, {"name": name, "start": start, "probe_every": probe_every_seconds})


def set_drift(connection: Connection, name: str, drift: Drift, *, new_drifts: int = 0) -> None:
    """Store how far a group has moved away from its catalog entry."""
    values = {
        "name": name,
        "effective_rpm": drift.effective_rpm,
        "extra_guard": drift.extra_guard,
        "drifted_at": drift.drifted_at,
        "clean_since": drift.clean_since,
        "drifts": new_drifts,
    }
    connection.execute(_SET_DRIFT, values)


def pause_group(connection: Connection, name: str, pause: GroupPause, reason: str) -> None:
    """Count a 429, and grant nothing for `pause.seconds`; a block only ever moves later."""
    values = {
        "name": name,
        "seconds": pause.seconds,
        "out_of_quota": pause.out_of_quota,
        "echo": pause.echo,
        "reason": reason,
    }
    connection.execute(_PAUSE, values)


def is_echo(connection: Connection, attempt_id: UUID) -> bool:
    """Whether a call was sent before the group's last 429 came, so that its own 429 says nothing new."""
    return connection.execute(_IS_ECHO, {"attempt_id": attempt_id}).scalar_one()


def probes_untried(connection: Connection, attempt_ids: Sequence[UUID]) -> None:
    """Where one of these attempts was the probe of a group that is out of quota, allow another one now.

    No byte of them was sent, so they gave no result.
    """
    values = {"attempt_ids": list(attempt_ids), "probe_every": EXHAUSTED_GROUP.first_seconds}
    connection.execute(_PROBES_UNTRIED, values)


def group_succeeded(connection: Connection, name: str, attempt_id: UUID) -> None:
    """Count 429s anew, and end being out of quota, if this success was sent after the last 429."""
    connection.execute(_SUCCEEDED, {"name": name, "attempt_id": attempt_id})


def calls_before(connection: Connection, attempt_id: UUID) -> int:
    """How many other calls of its group were sent in the window that ended when this one was sent."""
    return connection.execute(_CALLS_BEFORE, {"attempt_id": attempt_id}).scalar_one()


def at(seconds: float) -> datetime:
    """A time on the database's clock as a value for `timestamptz`."""
    return datetime.fromtimestamp(seconds, UTC)


def _group(row: Row[Any]) -> Group:
    return Group(
        name=row.name,
        rpm=row.rpm,
        catalog_guard=row.guard_seconds,
        quota=Quota(
            row.effective_rpm, row.window_seconds, row.guard_seconds + row.extra_guard_seconds, row.pace
        ),
        state=GroupState(
            now=row.now,
            free=max(0, row.effective_rpm - row.out),
            returns=row.returns,
            last_start=row.last_slot,
            blocked_until=row.blocked_until,
            probing=row.out_of_quota,
        ),
        drift=Drift(row.effective_rpm, row.extra_guard_seconds, row.drifted_at, row.clean_since),
        out=row.out,
        out_of_quota=row.out_of_quota,
        throttled=row.throttled,
        throttled_in_a_row=row.throttled_in_a_row,
        drifts=row.drifts,
        reason=row.reason,
    )
