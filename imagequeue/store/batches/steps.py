"""Many lines of a batch that move for one reason, some at a time: they end, wait again, or are given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import LineError, LineState, OnUnknown, state_after
from imagequeue.store.batches.counters import LineChange, move_lines

# Lines that are not validated are not counted yet. In the order of the index: a sort would read every line
# that waits in each step.
_WAITING = text("""
    SELECT number FROM batch_lines
    WHERE flow_id = ANY(ARRAY(SELECT id FROM flows WHERE flows.batch_id = :id)) AND state = 'waiting'
        AND number <= (SELECT last_number FROM batches WHERE batches.id = :id)
    ORDER BY flow_id, number LIMIT :most
    FOR UPDATE SKIP LOCKED
""")

# With an attempt that is CALLING or SLEEPING a call may be served: its images are paid for, so they are
# waited for. No other one can begin one, because the flows are closed. A job that is neither queued nor asks
# for images has an open attempt for each.
_IDLE = text("""
    WITH flow AS (SELECT id FROM flows WHERE batch_id = :id), job AS (
        SELECT jobs.id FROM jobs WHERE flow_id IN (SELECT id FROM flow) AND status = 'QUEUED'
        UNION
        SELECT jobs.id FROM jobs
        WHERE flow_id IN (SELECT id FROM flow) AND status = 'PROCESSING' AND wanted > 0
        UNION
        SELECT jobs.id FROM attempts JOIN jobs ON jobs.id = job_id
        WHERE attempts.state = 'RELEASED' AND flow_id IN (SELECT id FROM flow)
    )
    SELECT id FROM job WHERE NOT EXISTS (
        SELECT FROM attempts WHERE job_id = job.id AND attempts.state IN ('CALLING', 'SLEEPING')
    )
    ORDER BY id LIMIT :most
""")

_FAILED = """
    FROM batch_lines
    WHERE batch_id = :id AND error_code IS NOT NULL AND finished <= :until AND (
        CAST(:codes AS text[]) IS NULL AND state = 'failed'
        OR error_code = ANY(CAST(:codes AS text[])) AND state IN ('failed', 'unknown')
    )
"""

_ANY_FAILED = text(f"SELECT EXISTS (SELECT {_FAILED})")  # a constant, as below

_TO_RETRY = text(f"""
    SELECT number, state {_FAILED} ORDER BY error_code, number LIMIT :most FOR UPDATE
""")

_UNKNOWN = text("""
    SELECT number, error_message FROM batch_lines
    WHERE batch_id = :id AND state = 'unknown' AND error_code = 'unknown_outcome' AND finished <= :until
    ORDER BY error_code, number LIMIT :most
    FOR UPDATE
""")


def end_waiting(connection: Connection, batch_id: UUID, code: LineError, message: str, most: int) -> int:
    """End lines that have no job with an error; how many."""
    numbers = connection.execute(_WAITING, {"id": batch_id, "most": most}).scalars()
    target = state_after(code, OnUnknown.RETRY)
    changes = [
        LineChange(batch_id, number, LineState.WAITING, target, error_code=code.value, error_message=message)
        for number in numbers
    ]
    return len(move_lines(connection, changes))


def idle_jobs(connection: Connection, batch_id: UUID, most: int) -> list[UUID]:
    """Jobs of a batch's lines that have no call in flight."""
    return list(connection.execute(_IDLE, {"id": batch_id, "most": most}).scalars())


def has_failed(connection: Connection, batch_id: UUID, until: int, codes: Sequence[str] | None) -> bool:
    """Whether `retry_lines` would find a line."""
    return connection.execute(_ANY_FAILED, _named(batch_id, until, codes)).scalar_one()


def retry_lines(
    connection: Connection, batch_id: UUID, until: int, codes: Sequence[str] | None, most: int
) -> int:
    """Let lines wait again that finished up to a number and failed; how many.

    Args:
        connection: the transaction.
        batch_id: whose lines.
        until: the number of their finishing: those that fail again have a higher one.
        codes: the errors of those that are meant, of which some may be unknown; None: all that failed.
        most: of one step.
    """
    rows = connection.execute(_TO_RETRY, _named(batch_id, until, codes) | {"most": most}).all()
    changes = [LineChange(batch_id, row.number, LineState(row.state), LineState.WAITING) for row in rows]
    return len(move_lines(connection, changes))


def give_up_lines(connection: Connection, batch_id: UUID, until: int, most: int) -> int:
    """Let unknown lines that finished up to a number fail; how many."""
    rows = connection.execute(_UNKNOWN, {"id": batch_id, "until": until, "most": most}).all()
    changes = [
        LineChange(
            batch_id,
            row.number,
            LineState.UNKNOWN,
            LineState.FAILED,
            error_code=LineError.UNKNOWN_OUTCOME.value,
            error_message=row.error_message,
        )
        for row in rows
    ]
    return len(move_lines(connection, changes))


def _named(batch_id: UUID, until: int, codes: Sequence[str] | None) -> dict[str, Any]:
    return {"id": batch_id, "until": until, "codes": None if codes is None else list(codes)}
