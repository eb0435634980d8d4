"""Jobs whose deadline has passed."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

_OVERDUE = text("""
    SELECT id FROM jobs
    WHERE LEAST(start_by, finish_by) < clock_timestamp()
        AND (start_by IS NOT NULL OR finish_by IS NOT NULL) AND status IN ('QUEUED', 'PROCESSING')
        AND (finish_by < clock_timestamp() OR status = 'QUEUED')
    ORDER BY LEAST(start_by, finish_by)
    LIMIT :limit
""")


def overdue_jobs(connection: Connection, limit: int) -> list[UUID]:
    """Live jobs past their `finish_by`, and jobs past their `start_by` that have not started."""
    return list(connection.execute(_OVERDUE, {"limit": limit}).scalars())
