"""Quota groups and the tokens that are out. A token is an attempt row.

`lock_group` and `tokens_out` are two statements on purpose: the second must start after the lock is held,
because its snapshot, not the lock, decides what it counts (rate-limiting.md, "The rule").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from imagequeue.domain.catalog import QuotaGroup
from imagequeue.domain.quota import GroupState

_UPSERT = text("""
    INSERT INTO quota_groups (name, rpm, window_seconds, guard_seconds, blocked_until)
    VALUES (
        :name, :rpm, :window, :guard,
        CASE WHEN :spent THEN clock_timestamp() + make_interval(secs => :window + :guard) END
    )
    ON CONFLICT (name) DO UPDATE
    SET rpm = excluded.rpm, window_seconds = excluded.window_seconds, guard_seconds = excluded.guard_seconds
    WHERE (quota_groups.rpm, quota_groups.window_seconds, quota_groups.guard_seconds)
        IS DISTINCT FROM (excluded.rpm, excluded.window_seconds, excluded.guard_seconds)
""")

_LOCK = text("SELECT last_slot_at, blocked_until FROM quota_groups WHERE name = :name FOR UPDATE")

_TOKENS_OUT = text("""
    SELECT extract(epoch FROM clock_timestamp())::float8,
        (
            SELECT coalesce(array_agg(extract(epoch FROM token_returns_at)::float8), '{}')
            FROM attempts
            WHERE quota_group = :name AND token_returns_at > clock_timestamp()
        )
""")

_SET_LAST_SLOT = text("""
    UPDATE quota_groups SET last_slot_at = greatest(last_slot_at, to_timestamp(:slot)) WHERE name = :name
""")

_BLOCK = text("""
    UPDATE quota_groups
    SET blocked_until = greatest(blocked_until, clock_timestamp() + make_interval(secs => :seconds))
    WHERE name = :name
""")


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """How a deployment does: failures in a row, and the seconds for which it is still out."""

    name: str
    failures: int
    blocked_for: float
    reason: str | None


def ensure_groups(connection: Connection, groups: Iterable[QuotaGroup]) -> None:
    """Make the rows of the catalog's groups; a new group starts as its `cold_start` says."""
    rows = [
        {
            "name": group.name,
            "rpm": group.rpm,
            "window": group.window_seconds,
            "guard": group.guard_ms / 1000,
            "spent": group.cold_start == "spent",
        }
        for group in groups
    ]
    if rows:
        connection.execute(_UPSERT, sorted(rows, key=lambda row: str(row["name"])))


def lock_group(connection: Connection, name: str) -> tuple[datetime | None, datetime | None]:
    """Lock a group's row until the transaction ends; its last planned start, and until when it is blocked."""
    last_slot_at, blocked_until = connection.execute(_LOCK, {"name": name}).one()
    return last_slot_at, blocked_until


def group_state(connection: Connection, name: str) -> GroupState:
    """Lock a group, then count its tokens that are out."""
    last_slot_at, blocked_until = lock_group(connection, name)
    now, returns = connection.execute(_TOKENS_OUT, {"name": name}).one()
    return GroupState(
        now=now,
        returns=returns,
        last_slot=last_slot_at and last_slot_at.timestamp(),
        blocked_until=blocked_until and blocked_until.timestamp(),
    )


def set_last_slot(connection: Connection, name: str, slot: float) -> None:
    """Remember the last planned start (seconds on the database's clock), for pacing."""
    connection.execute(_SET_LAST_SLOT, {"name": name, "slot": slot})


def block_group(connection: Connection, name: str, seconds: float) -> None:
    """Grant nothing for a while; a block only ever moves later."""
    connection.execute(_BLOCK, {"name": name, "seconds": seconds})


def deployment_states(connection: Connection) -> Mapping[str, DeploymentState]:
    """What is known against deployments."""
    rows = connection.execute(
        text("""
            SELECT name, failures, reason,
                coalesce(extract(epoch FROM blocked_until - clock_timestamp()), 0)::float8 AS blocked_for
            FROM deployment_states
        """)
    )
    return {row.name: DeploymentState(row.name, row.failures, row.blocked_for, row.reason) for row in rows}


def deployment_failed(connection: Connection, name: str, *, reason: str, seconds: float) -> None:
    """Count a failure in a row, and keep the deployment out for some seconds (0: not yet)."""
    connection.execute(
        text("""
            INSERT INTO deployment_states AS known (name, failures, reason, blocked_until)
            VALUES (:name, 1, :reason, clock_timestamp() + make_interval(secs => :seconds))
            ON CONFLICT (name) DO UPDATE
            SET failures = known.failures + 1, reason = excluded.reason,
                blocked_until = greatest(known.blocked_until, excluded.blocked_until),
                updated_at = clock_timestamp()
        """),
        {"name": name, "reason": reason, "seconds": seconds},
    )


def deployment_succeeded(connection: Connection, name: str) -> None:
    """Forget what was known against a deployment."""
    connection.execute(text("DELETE FROM deployment_states WHERE name = :name"), {"name": name})


def at(seconds: float) -> datetime:
    """A time on the database's clock as a value for `timestamptz`."""
    return datetime.fromtimestamp(seconds, UTC)
