"""Batches as those see them who move them on: lock one, set its reasons, move it to another state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from imagequeue.domain.batch_progress import BRAKE_FROM, BRAKE_LAST, Progress, brake_holds
from imagequeue.domain.batches import ENDED_BATCHES, BatchState, PauseReason

# Whoever changes the row takes FOR NO KEY UPDATE; the expander takes FOR SHARE, so that it sees no change
# while it makes jobs.
_READ = """
    SELECT batches.id, account_id, batches.state, reasons, budget_usd, keep_available_usd, max_failure_rate,
        line_limit, last_number, brake_from, retry_to, retry_codes, give_up_to, expiring, webhook_url,
        coalesce(least(start_by, expires_at) <= clock_timestamp(), false) AS is_overdue,
        clock_timestamp() AS now, total, waiting, queued, completed, failed, unknown, cancelled, expired,
        skipped, finished, held_usd, spent_usd,
        EXISTS (SELECT FROM batch_parts WHERE batch_id = batches.id AND state = 'validating') AS validates
    FROM batches JOIN batch_counters ON batch_counters.batch_id = batches.id
"""
# A statement of its own: what is read after it is of the time when the lock was there.
_LOCK = text("SELECT id FROM batches WHERE id = :id FOR NO KEY UPDATE")
_SHARE = text("SELECT id FROM batches WHERE id = :id FOR SHARE")
_LOOK = text(f"{_READ} WHERE batches.id = :id")

_UNFINISHED = text(f"""
    {_READ}
    WHERE batches.state NOT IN ({", ".join(f"'{state}'" for state in sorted(ENDED_BATCHES))})
        AND batches.id > :after
    ORDER BY batches.id LIMIT :limit
""")

_LAST = text("""
    SELECT count(*)::int AS finished, count(*) FILTER (WHERE state = 'failed')::int AS failed FROM (
        SELECT state FROM batch_lines WHERE batch_id = :id AND finished > :after
        ORDER BY finished DESC LIMIT :last
    ) AS line
""")

_LIMIT = text("""
    SELECT number FROM batch_lines WHERE batch_id = :id AND state <> 'skipped'
    ORDER BY number OFFSET :before LIMIT 1
""")

_WAITS_BELOW = text("""
    SELECT EXISTS (
        SELECT FROM batch_lines WHERE batch_id = :id AND number <= :number AND state = 'waiting'
    )
""")

_AT = {
    BatchState.IN_PROGRESS: (
        "in_progress_at = coalesce(in_progress_at, clock_timestamp()), finalizing_at = NULL, "
        "completed_at = NULL, ended_at = NULL, output_file_id = NULL, error_file_id = NULL"
    ),
    BatchState.FINALIZING: "finalizing_at = clock_timestamp()",
    BatchState.COMPLETED: "completed_at = clock_timestamp(), ended_at = clock_timestamp()",
    BatchState.CANCELLING: "cancelling_at = clock_timestamp()",
    BatchState.CANCELLED: "cancelled_at = clock_timestamp(), ended_at = clock_timestamp()",
    BatchState.EXPIRED: "expired_at = clock_timestamp(), ended_at = clock_timestamp()",
}
"""What else is written when a batch comes to a state. Retried, it has not ended any more."""

_MOVE = {
    state: text(f"""
        UPDATE batches SET state = '{state}', reasons = '{{}}', expiring = :expiring, {more} WHERE id = :id
    """)  # noqa: S608  # texts of this module
    for state, more in _AT.items()
}

_SET_REASONS = text("UPDATE batches SET state = :state, reasons = :reasons WHERE id = :id")


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch and its counters; amounts in USD, `now` on the database's clock."""

    id: UUID
    account_id: UUID
    state: BatchState
    reasons: frozenset[PauseReason]
    budget_usd: Decimal | None
    keep_available_usd: Decimal
    max_failure_rate: float
    line_limit: int | None
    last_number: int
    brake_from: int
    retry_to: int | None
    retry_codes: Sequence[str] | None
    give_up_to: int | None
    expiring: bool
    webhook_url: str | None
    is_overdue: bool
    now: datetime
    counts: dict[str, int]
    finished: int
    held_usd: Decimal
    spent_usd: Decimal
    validates: bool

    def progress(self, *, limit_reached: bool = False, failing: bool = False) -> Progress:
        """What decides on the next step."""
        return Progress(
            state=self.state,
            reasons=self.reasons,
            waiting=self.counts["waiting"],
            queued=self.counts["queued"],
            unknown=self.counts["unknown"],
            expiring=self.expiring,
            is_overdue=self.is_overdue,
            validates=self.validates,
            retries=self.retry_to is not None,
            gives_up=self.give_up_to is not None,
            limit_reached=limit_reached,
            failing=failing,
        )


_COUNTS = ("total", "waiting", "queued", "completed", "failed", "unknown", "cancelled", "expired", "skipped")


def unfinished_batches(connection: Connection, after: UUID, limit: int) -> list[BatchRow]:
    """Read the next batches behind an id that have not ended, without a lock."""
    rows = connection.execute(_UNFINISHED, {"after": after, "limit": limit}).mappings()
    return [_row(row) for row in rows]


def lock_batch(connection: Connection, batch_id: UUID) -> BatchRow | None:
    """Lock a batch to change it. Its counters are not locked: whoever changes them waits for nothing."""
    connection.execute(_LOCK, {"id": batch_id})
    return look_at_batch(connection, batch_id)


def share_batch(connection: Connection, batch_id: UUID) -> BatchRow | None:
    """Lock a batch so that nobody changes it until the transaction ends."""
    connection.execute(_SHARE, {"id": batch_id})
    return look_at_batch(connection, batch_id)


def look_at_batch(connection: Connection, batch_id: UUID) -> BatchRow | None:
    """Read a batch without a lock."""
    row = connection.execute(_LOOK, {"id": batch_id}).mappings().one_or_none()
    return _row(row) if row else None


def is_failing(connection: Connection, batch: BatchRow) -> bool:
    """Whether more of the lines that finished last failed than the batch allows."""
    finished = batch.finished - batch.brake_from
    if batch.max_failure_rate >= 1 or finished < BRAKE_FROM or not batch.counts["failed"]:
        return False
    values = {"id": batch.id, "after": batch.brake_from, "last": BRAKE_LAST}
    last = connection.execute(_LAST, values).one()
    return brake_holds(last.failed, last.finished, batch.max_failure_rate)


def last_to_run(connection: Connection, batch: BatchRow) -> int:
    """The number of the last line that may run: that of a valid part, and of the first `line_limit` lines."""
    if batch.line_limit is None:
        return batch.last_number
    values = {"id": batch.id, "before": batch.line_limit - 1}
    number = connection.execute(_LIMIT, values).scalar_one_or_none()
    return batch.last_number if number is None else min(number, batch.last_number)


def is_limit_reached(connection: Connection, batch: BatchRow) -> bool:
    """Whether all lines that were to run first have jobs, or have had them."""
    if batch.line_limit is None:
        return False
    values = {"id": batch.id, "number": last_to_run(connection, batch)}
    return not connection.execute(_WAITS_BELOW, values).scalar_one()


def set_reasons(
    connection: Connection, batch_id: UUID, state: BatchState, reasons: Collection[PauseReason]
) -> None:
    """Pause a batch for these reasons, or let it go on; the caller has locked it."""
    values = {"id": batch_id, "state": state.value, "reasons": sorted(one.value for one in reasons)}
    connection.execute(_SET_REASONS, values)


def move_batch(connection: Connection, batch_id: UUID, state: BatchState, *, expiring: bool = False) -> None:
    """Move a batch to another state, without reasons of a pause; the caller has locked it."""
    connection.execute(_MOVE[state], {"id": batch_id, "expiring": expiring})


def set_files(
    connection: Connection, batch_id: UUID, output_file_id: UUID | None, error_file_id: UUID | None
) -> None:
    """Say which files hold the results of a batch that ends."""
    change = "output_file_id = :output, error_file_id = :error"
    _update(connection, batch_id, change, output=output_file_id, error=error_file_id)


def set_terms(connection: Connection, batch_id: UUID, terms: Mapping[str, object]) -> None:
    """Change columns of a batch that its client may change while it runs; by the columns' names."""
    change = ", ".join(f"{name} = :{name}" for name in sorted(terms))
    _update(connection, batch_id, change, **terms)


def _update(connection: Connection, batch_id: UUID, change: str, **values: object) -> None:
    statement = text(f"UPDATE batches SET {change} WHERE id = :id")  # noqa: S608  # texts of this module
    connection.execute(statement, {"id": batch_id, **values})


def _row(row: RowMapping) -> BatchRow:
    found: dict[str, Any] = dict(row)
    counts: dict[str, int] = {name: found.pop(name) for name in _COUNTS}
    found["state"] = BatchState(found["state"])
    found["reasons"] = frozenset(map(PauseReason, found["reasons"]))
    return BatchRow(counts=counts, **found)
