"""Targets of webhooks: which have due deliveries, what is known of each, and what each attempt changed.

A row is made and locked by the processes that deliver, never by who settles a job. Who needs both locks the
target before the delivery. How many attempts are in flight is no column but the count of the leases that have
not ended, so a process that is killed gives its places back when they do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from imagequeue.domain.webhook_targets import TargetState

TargetKey: TypeAlias = tuple[UUID, str]
"""The account, and scheme, host and port."""

MOST_OF_AN_ACCOUNT = 100
"""Targets of one account that one scan looks at: a client may name a host of its own for each job."""

# The next account, or the next target of an account, with pending deliveries: one probe of each of the two
# partial indexes, however many deliveries are parked there.
_NEXT_ACCOUNT = """least(
    (SELECT account_id FROM deliveries WHERE state = 'PENDING' AND attempt_count = 0 {after}
        ORDER BY account_id LIMIT 1),
    (SELECT account_id FROM deliveries WHERE state = 'PENDING' AND attempt_count > 0 {after}
        ORDER BY account_id LIMIT 1)
)"""
_NEXT_TARGET = """least(
    (SELECT target FROM deliveries WHERE state = 'PENDING' AND attempt_count = 0
        AND account_id = of_account.id AND target > {after} ORDER BY target LIMIT 1),
    (SELECT target FROM deliveries WHERE state = 'PENDING' AND attempt_count > 0
        AND account_id = of_account.id AND target > {after} ORDER BY target LIMIT 1)
)"""
# No EXISTS: the planner would read all that is due, once, into a hash.
_IS_DUE = """(
    SELECT true FROM deliveries
    WHERE state = 'PENDING' AND attempt_count {which} AND account_id = of_account.id
        AND target = named.target AND next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at LIMIT 1
) IS TRUE"""
_MAY_BE_SERVED = """coalesce(greatest(open_until, paused_until) <= statement_timestamp(), true)"""

_SCAN = text(f"""
    WITH RECURSIVE of_account (id) AS (
        SELECT {_NEXT_ACCOUNT.format(after="")}
        UNION ALL
        SELECT {_NEXT_ACCOUNT.format(after="AND account_id > of_account.id")}
        FROM of_account WHERE id IS NOT NULL
    ), begun (id, after) AS (
        SELECT * FROM unnest((SELECT CAST(:accounts AS uuid[])), (SELECT CAST(:after AS text[])))
    )
    SELECT of_account.id AS account_id, named.target, named.position,
        webhook_targets.target IS NULL AS unknown,
        {_MAY_BE_SERVED} AND ({_IS_DUE.format(which="= 0")} OR {_IS_DUE.format(which="> 0")}) AS due
    FROM of_account
    LEFT JOIN begun USING (id)
    CROSS JOIN LATERAL (
        WITH RECURSIVE one (target, position) AS (
            SELECT {_NEXT_TARGET.format(after="coalesce(begun.after, '')")}, 1
            UNION ALL
            SELECT {_NEXT_TARGET.format(after="one.target")}, position + 1
            FROM one WHERE target IS NOT NULL AND position < (SELECT CAST(:most AS int))
        )
        SELECT * FROM one WHERE target IS NOT NULL
    ) AS named
    LEFT JOIN webhook_targets
        ON webhook_targets.account_id = of_account.id AND webhook_targets.target = named.target
    WHERE of_account.id IS NOT NULL
    ORDER BY served_at NULLS FIRST, account_id, named.target
""")  # noqa: S608  # the pieces are ours

# In one order, because an insert waits for another process's of the same row.
_MAKE = text("""
    INSERT INTO webhook_targets (account_id, target)
    SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:targets AS text[])) AS named (account, target)
    ORDER BY account, target
    ON CONFLICT DO NOTHING
""")

_STATE = "failures, quick, attempt_limit, latency_seconds, open_until, paused_until"

_LOCK = text(f"""
    SELECT account_id, webhook_targets.target, {_STATE}
    FROM webhook_targets
    JOIN unnest((SELECT CAST(:accounts AS uuid[])), (SELECT CAST(:targets AS text[]))) AS asked (id, target)
        ON asked.id = account_id AND asked.target = webhook_targets.target
    WHERE {_MAY_BE_SERVED}
    ORDER BY served_at
    FOR NO KEY UPDATE OF webhook_targets SKIP LOCKED
""")  # noqa: S608  # likewise

# The clock of the statement, because the rows are written in any order.
_SERVE = text("""
    UPDATE webhook_targets SET served_at = statement_timestamp() + position * interval '1 microsecond'
    FROM unnest((SELECT CAST(:accounts AS uuid[])), (SELECT CAST(:targets AS text[]))) WITH ORDINALITY
        AS served (id, target, position)
    WHERE account_id = served.id AND webhook_targets.target = served.target
""")

_READ_KNOWN = f"""
    SELECT account_id, webhook_targets.target, {_STATE}
    FROM webhook_targets
    JOIN unnest((SELECT CAST(:accounts AS uuid[])), (SELECT CAST(:targets AS text[]))) AS asked (id, target)
        ON asked.id = account_id AND asked.target = webhook_targets.target
"""  # noqa: S608  # likewise
_READ = text(_READ_KNOWN)
_LOCK_KNOWN = text(f"""
    {_READ_KNOWN} ORDER BY account_id, webhook_targets.target FOR NO KEY UPDATE OF webhook_targets
""")

_WRITE = text("""
    UPDATE webhook_targets
    SET failures = :failures, quick = :quick, attempt_limit = :limit, latency_seconds = :latency_seconds,
        open_until = :open_until, paused_until = :paused_until
    WHERE account_id = :account_id AND target = :target
""")

_FORGET = text("""
    WITH unused AS (
        SELECT account_id, target FROM webhook_targets AS old
        WHERE served_at < clock_timestamp() - make_interval(days => :days) AND NOT EXISTS (
            SELECT FROM deliveries
            WHERE state = 'PENDING' AND account_id = old.account_id AND target = old.target
        )
        ORDER BY served_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    DELETE FROM webhook_targets USING unused
    WHERE (webhook_targets.account_id, webhook_targets.target) = (unused.account_id, unused.target)
""")


@dataclass(frozen=True, slots=True)
class Scan:
    """The targets with due deliveries that may be served, the one that was served longest ago first.

    `unknown` are those of them that have no row yet.

    `cut` has the accounts of which more targets have pending deliveries than were looked at, each with the
    last one; the next scan begins after it.
    """

    due: Sequence[TargetKey]
    unknown: Collection[TargetKey]
    cut: Mapping[UUID, str]


def scan(connection: Connection, after: Mapping[UUID, str]) -> Scan:
    """Find targets with due deliveries; one that is open or paused costs a probe, whatever is parked there.

    Args:
        connection: the transaction.
        after: where the scan of an account begins, if not at its first target.
    """
    values = {"accounts": list(after), "after": list(after.values()), "most": MOST_OF_AN_ACCOUNT}
    rows = connection.execute(_SCAN, values).all()
    cut = {row.account_id: row.target for row in rows if row.position == MOST_OF_AN_ACCOUNT}
    due = [row for row in rows if row.due]
    unknown = {(row.account_id, row.target) for row in due if row.unknown}
    return Scan([(row.account_id, row.target) for row in due], unknown, cut)


def make(connection: Connection, keys: Sequence[TargetKey]) -> None:
    """Make the rows of targets of which nothing is known."""
    if keys:
        connection.execute(_MAKE, _columns(keys))


def lock(connection: Connection, keys: Sequence[TargetKey]) -> dict[TargetKey, TargetState]:
    """Lock those that may be served and that nobody else has locked, in the order of their turns."""
    return _known(connection, _LOCK, keys)


def serve(connection: Connection, keys: Sequence[TargetKey]) -> None:
    """Let these targets go to the end of the order, as they are given."""
    if keys:
        connection.execute(_SERVE, _columns(keys))


def read(connection: Connection, keys: Sequence[TargetKey]) -> dict[TargetKey, TargetState]:
    """What is known of targets, without a lock."""
    return _known(connection, _READ, keys)


def lock_known(connection: Connection, keys: Sequence[TargetKey]) -> dict[TargetKey, TargetState]:
    """The same, locked until the transaction ends."""
    return _known(connection, _LOCK_KNOWN, keys)


def write(connection: Connection, key: TargetKey, state: TargetState) -> None:
    """Store what an attempt changed of a target whose row is locked."""
    connection.execute(
        _WRITE,
        {
            "account_id": key[0],
            "target": key[1],
            "failures": state.failures,
            "quick": state.quick,
            "limit": state.limit,
            "latency_seconds": state.latency_seconds,
            "open_until": state.open_until,
            "paused_until": state.paused_until,
        },
    )


def forget(connection: Connection, days: int, limit: int) -> int:
    """Delete up to `limit` targets that got no delivery for `days` and wait for none; how many."""
    return connection.execute(_FORGET, {"days": days, "limit": limit}).rowcount


def _columns(keys: Sequence[TargetKey]) -> dict[str, list[UUID] | list[str]]:
    return {"accounts": [account for account, _ in keys], "targets": [target for _, target in keys]}


def _known(
    connection: Connection, statement: TextClause, keys: Sequence[TargetKey]
) -> dict[TargetKey, TargetState]:
    rows = connection.execute(statement, _columns(keys))
    return {(row.account_id, row.target): _state(row) for row in rows}


def _state(row: Row[tuple[object, ...]]) -> TargetState:
    return TargetState(
        row.failures, row.quick, row.attempt_limit, row.latency_seconds, row.open_until, row.paused_until
    )
