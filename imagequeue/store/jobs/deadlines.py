"""Jobs whose deadline has passed."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.store.attempts.calls import STARTED

# Uses the index of live jobs with deadlines. Attempts are read only where `start_by` alone has passed.
_OVERDUE = text(f"""
    SELECT id, account_id FROM jobs
    WHERE LEAST(start_by, finish_by) < clock_timestamp()
        AND (start_by IS NOT NULL OR finish_by IS NOT NULL) AND status IN ('QUEUED', 'PROCESSING')
        AND account_id <> ALL(CAST(:passed_over AS uuid[]))
        AND (finish_by < clock_timestamp() OR status = 'QUEUED' OR NOT {STARTED})
    ORDER BY LEAST(start_by, finish_by)
    LIMIT :limit
""")  # noqa: S608  # a constant of the store


def overdue_jobs(
    connection: Connection, limit: int, passed_over: Collection[UUID] = ()
) -> list[tuple[UUID, UUID]]:
    """Live jobs past their `finish_by`, and those past their `start_by` for which no call was made.

    Returns:
        The ids of the jobs and of their accounts, without the accounts that are passed over.
    """
    values = {"limit": limit, "passed_over": list(passed_over)}
    return [(row.id, row.account_id) for row in connection.execute(_OVERDUE, values)]
