"""What the end of a job writes when it is that of a line: the line's state, and the counters of its batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.batches import LineError, LineState, state_after
from imagequeue.store.batches.counters import LineChange, move_lines
from imagequeue.store.batches.lines import LineOfJob, lines_of_jobs
from imagequeue.store.jobs.settlements import LockedJob

MOST_MESSAGE = 1000
"""Characters of an error that stand in the line; all of it is in the job's result."""

Lines = Mapping[UUID, LineOfJob]


def lock_lines(connection: Connection, jobs: Sequence[LockedJob]) -> Lines:
    """Lock the lines of those jobs that are of a batch; by job."""
    of_batches = [job.id for job in jobs if job.batch_id is not None]
    return lines_of_jobs(connection, of_batches) if of_batches else {}


def end_lines(
    connection: Connection,
    jobs: Sequence[LockedJob],
    lines: Lines,
    code: LineError | None,
    message: str | None,
) -> None:
    """Move the lines of jobs that end and count them: the last statement of the transaction."""
    ended = [_change(job, lines[job.id], code, message) for job in jobs if job.id in lines]
    move_lines(connection, ended)


def _change(job: LockedJob, line: LineOfJob, code: LineError | None, message: str | None) -> LineChange:
    target = state_after(code, job.on_unknown)
    completed = target is LineState.COMPLETED
    return LineChange(
        line.batch_id,
        line.number,
        line.state,
        target,
        held_usd=-job.price_usd,
        spent_usd=job.price_usd if completed else Decimal(0),
        images=job.image_count if completed else 0,
        error_code=code and code.value,
        error_message=message and message[:MOST_MESSAGE],
    )
