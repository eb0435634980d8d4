"""Redelivery: what is delivered or dead becomes pending again, with its schedule from the beginning.

A delivery whose attempt is in flight is left alone. The fence grows, so that an attempt from before
cannot be taken for one of the new schedule. The count of attempts goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.store.recoveries import Recovery

MOST_ATTEMPTS = 20_000
"""Attempts after which a delivery is not made pending again: the column that counts them is a smallint."""

_LOCK_OF_JOB = text("SELECT id FROM deliveries WHERE job_id = :job_id ORDER BY created_at, id FOR UPDATE")

_LOCK_DEAD = text("""
    SELECT id, created_at FROM deliveries
    WHERE account_id = :account_id AND state = 'DEAD' AND created_at >= :since AND created_at < :until
        AND (created_at, id) > (
            coalesce(CAST(:after_at AS timestamptz), '-infinity'),
            coalesce(CAST(:after_id AS uuid), '00000000-0000-0000-0000-000000000000')
        )
    ORDER BY created_at, id LIMIT :most FOR UPDATE
""")

_REDELIVER = text("""
    UPDATE deliveries
    SET state = 'PENDING', next_attempt_at = clock_timestamp(), aged_from = clock_timestamp(),
        schedule_from = attempt_count, finished_at = NULL, leased_until = NULL, fence = fence + 1
    WHERE id = ANY(:ids) AND attempt_count < :most_attempts
        AND coalesce(leased_until <= clock_timestamp(), true)
    RETURNING id
""")


@dataclass(frozen=True, slots=True)
class DeadDelivery:
    """A dead delivery, and when its event was."""

    id: UUID
    created_at: datetime


def lock_deliveries_of(connection: Connection, job_id: UUID) -> list[UUID]:
    """The deliveries of a job, locked."""
    return list(connection.execute(_LOCK_OF_JOB, {"job_id": job_id}).scalars())


def lock_dead(connection: Connection, recovery: Recovery, most: int) -> list[DeadDelivery]:
    """The next `most` dead deliveries of a recovery's range, by the times of their events; locked."""
    asked = {
        "account_id": recovery.account_id,
        "since": recovery.since,
        "until": recovery.until,
        "after_at": recovery.after_at,
        "after_id": recovery.after_id,
        "most": most,
    }
    return [DeadDelivery(row.id, row.created_at) for row in connection.execute(_LOCK_DEAD, asked)]


def redeliver(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Let locked deliveries be due now; those that were neither in flight nor tried too often already."""
    return list(connection.execute(_REDELIVER, {"ids": list(ids), "most_attempts": MOST_ATTEMPTS}).scalars())
