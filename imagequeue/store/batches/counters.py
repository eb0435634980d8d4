"""Moves lines from state to state and counts them, in one statement for all batches of a transaction.

Settlements of many jobs meet at the counters of their batch, so the statement is the last one of its
transaction: whoever holds a row of `batch_counters` waits for nothing but its commit. It locks the lines
first, then the counters by batch, so that no two transactions wait for each other in a circle.

A line that finishes gets the next number of its batch. The row of the counters is locked until the commit, so
numbers follow the order of commits and have no gaps: who has read up to a number has missed none before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import LINE_EDGES, LineState


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line that goes from one state to another.

    `job_id` is that of a line that gets a job, else None. `held_usd` and `spent_usd` are added to the batch's
    open holds and to what it has spent, and may be negative; `images` is the number of those that it brings.
    """

    batch_id: UUID
    number: int
    source: LineState
    target: LineState
    job_id: UUID | None = None
    held_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)
    images: int = 0
    error_code: str | None = None
    error_message: str | None = None


_STATES = ", ".join(f"{state} = counters.{state} + added.{state}" for state in LineState)
_ADDED = ", ".join(
    f"sum((target = '{state}')::int - (source = '{state}')::int)::int AS {state}" for state in LineState
)
_EDGES = ", ".join(
    f"('{source}', '{target}')" for source, targets in LINE_EDGES.items() for target in sorted(targets)
)

_MOVE = text(f"""
    WITH change AS (
        SELECT * FROM unnest(CAST(:batch_ids AS uuid[]), CAST(:numbers AS int[]), CAST(:sources AS text[]),
            CAST(:targets AS text[]), CAST(:job_ids AS uuid[]), CAST(:helds AS numeric[]),
            CAST(:spents AS numeric[]), CAST(:images AS int[]), CAST(:codes AS text[]),
            CAST(:messages AS text[]))
            AS change (batch_id, number, source, target, job_id, held, spent, images, code, message)
        WHERE (source, target) IN ({_EDGES})
    ), line AS MATERIALIZED (
        SELECT change.* FROM batch_lines JOIN change USING (batch_id, number)
        WHERE batch_lines.state = change.source
        ORDER BY batch_id, number FOR UPDATE OF batch_lines
    ), counter AS MATERIALIZED (
        SELECT batch_id FROM batch_counters WHERE batch_id IN (SELECT batch_id FROM line)
        ORDER BY batch_id FOR UPDATE
    ), ended AS MATERIALIZED (
        SELECT batch_id, number, row_number() OVER (PARTITION BY batch_id ORDER BY number) AS place
        FROM line WHERE target NOT IN ('waiting', 'queued')
    ), counted AS (
        UPDATE batch_counters AS counters
        SET {_STATES},
            finished = finished + (SELECT count(*)::int FROM ended WHERE ended.batch_id = counters.batch_id),
            held_usd = held_usd + added.held, spent_usd = spent_usd + added.spent,
            images = counters.images + added.images
        FROM counter, LATERAL (
            SELECT {_ADDED}, sum(held) AS held, sum(spent) AS spent, sum(images) AS images
            FROM line WHERE line.batch_id = counter.batch_id
        ) AS added
        WHERE counters.batch_id = counter.batch_id
        RETURNING counters.batch_id,
            finished - (SELECT count(*) FROM ended WHERE ended.batch_id = counters.batch_id) AS before
    )
    UPDATE batch_lines AS lines
    SET state = line.target,
        job_id = CASE line.target WHEN 'waiting' THEN NULL WHEN 'queued' THEN line.job_id
            ELSE lines.job_id END,
        finished = counted.before + ended.place,
        error_code = line.code, error_message = line.message,
        retries = retries + (line.target = 'waiting')::int
    FROM line JOIN counted USING (batch_id) LEFT JOIN ended USING (batch_id, number)
    WHERE lines.batch_id = line.batch_id AND lines.number = line.number
    RETURNING lines.batch_id, lines.number
""")  # noqa: S608  # the words are those of the enums


def move_lines(connection: Connection, changes: Sequence[LineChange]) -> set[tuple[UUID, int]]:
    """Move lines and count them; call it as the last statement of a transaction.

    A change whose line is not in its `source` any more, or that `LINE_EDGES` does not have, changes nothing.
    A line that goes back to WAITING loses its job and its error, and counts a retry.

    Args:
        connection: whose transaction it is.
        changes: at most one for each line.

    Returns:
        Batch and number of the lines that moved.
    """
    if not changes:
        return set()
    values = {
        "batch_ids": [change.batch_id for change in changes],
        "numbers": [change.number for change in changes],
        "sources": [change.source.value for change in changes],
        "targets": [change.target.value for change in changes],
        "job_ids": [change.job_id for change in changes],
        "helds": [change.held_usd for change in changes],
        "spents": [change.spent_usd for change in changes],
        "images": [change.images for change in changes],
        "codes": [change.error_code for change in changes],
        "messages": [change.error_message for change in changes],
    }
    return {(row.batch_id, row.number) for row in connection.execute(_MOVE, values)}
