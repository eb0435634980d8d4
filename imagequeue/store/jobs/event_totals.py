"""How many jobs ever entered each status: counted from the events before these are deleted.

A total is `entered`, the number of events up to `counted_until`, plus the number of later events. One
statement reads both, so readers at the same moment see the same numbers, and the numbers never fall. Settling
writes no total: all settlements would wait for one row.

An event gets its id before its transaction commits. So only events that are older than every open transaction
are counted: whatever commits later has a larger id.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, text

_HORIZON = text("""
    SELECT least(min(xact_start), clock_timestamp() - make_interval(secs => :settled))
    FROM pg_stat_activity WHERE datname = current_database()
""")

_COUNTED = text("SELECT counted_until FROM event_totals ORDER BY status FOR UPDATE")

_UNTIL = text("""
    SELECT max(id) FROM (SELECT id, created_at FROM events WHERE id > :after ORDER BY id LIMIT :most) AS next
    WHERE created_at < :horizon
""")

_COUNT = text("""
    UPDATE event_totals AS totals
    SET counted_until = :until, entered = entered + (
        SELECT count(*) FROM events WHERE id > :after AND id <= :until AND events.status = totals.status
    )
""")

_AFTER = text("SELECT min(counted_until) FROM event_totals")

# `after` only shows the planner that few events are left. It may be out of date; `counted_until` is exact.
_ENTERED = text("""
    SELECT totals.status, totals.entered + count(events.id) AS entered
    FROM event_totals AS totals
    LEFT JOIN events
        ON events.id > :after AND events.id > totals.counted_until AND events.status = totals.status
    GROUP BY totals.status, totals.entered
""")


def horizon(connection: Connection, settled_seconds: float) -> datetime:
    """A time before the start of every open transaction, and at least `settled_seconds` ago.

    `pg_stat_activity` shows the transactions of the same database user; the seconds are for those of others.
    """
    return connection.execute(_HORIZON, {"settled": settled_seconds}).scalar_one()


def count_on(connection: Connection, before: datetime, most: int) -> int:
    """Add at most `most` events from before a `horizon` to the totals; returns how many ids were passed."""
    after = connection.execute(_COUNTED).scalars().all()[0]
    until = connection.execute(_UNTIL, {"after": after, "most": most, "horizon": before}).scalar_one()
    if until is None:
        return 0
    connection.execute(_COUNT, {"after": after, "until": until})
    return until - after


def entered(connection: Connection) -> Mapping[str, int]:
    """By status, how many jobs entered it since the totals began; every status is there."""
    rows = connection.execute(_ENTERED, {"after": connection.execute(_AFTER).scalar_one()})
    return {row.status: row.entered for row in rows}
