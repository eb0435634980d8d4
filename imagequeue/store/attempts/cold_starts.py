"""Quota groups whose tokens may be in use elsewhere when they enter the catalog, as `cold_start` says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

_BEGIN_AGAIN = text("""
    UPDATE quota_groups
    SET blocked_until = greatest(
        blocked_until, :since + make_interval(secs => window_seconds + guard_seconds)
    )
    WHERE name = ANY(:names)
""")


def begin_again(connection: Connection, names: Sequence[str], since: datetime) -> None:
    """Take all tokens of these groups for spent at `since`. Whoever says so again changes nothing."""
    connection.execute(_BEGIN_AGAIN, {"names": sorted(names), "since": since})
