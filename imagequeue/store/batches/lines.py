"""The lines of batches: copied by validation, found by their jobs, deleted when their part is not valid."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, cast
from uuid import UUID

from psycopg import Connection as Driver
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, text

from imagequeue.domain.batches import LineState


class NewLine(NamedTuple):
    """A line as `COPY` writes it. `byte_offset` and `byte_count` say where its text is in the part's file."""

    batch_id: UUID
    number: int
    part: int
    state: LineState
    flow_id: int | None
    earlier_job_id: UUID | None
    finished: int | None
    byte_offset: int
    byte_count: int
    custom_id: str
    body_digest: bytes | None


class LineOfJob(NamedTuple):
    """Which line a job is of, and the line's state."""

    batch_id: UUID
    number: int
    state: LineState


_COPY = SQL("COPY batch_lines ({}) FROM STDIN (FORMAT binary)").format(
    SQL(", ").join(map(Identifier, NewLine._fields))
)
_TYPES = ["uuid", "int4", "int2", "text", "int4", "uuid", "int4", "int8", "int4", "text", "bytea"]

_OF_JOBS = text("""
    SELECT job_id, batch_id, number, state FROM batch_lines WHERE job_id = ANY(CAST(:job_ids AS uuid[]))
    ORDER BY batch_id, number FOR UPDATE
""")

_DELETE = text("""
    DELETE FROM batch_lines WHERE (batch_id, number) IN (
        SELECT batch_id, number FROM batch_lines
        WHERE batch_id = :batch_id AND number >= :first_number ORDER BY number LIMIT :most
    )
""")


def copy_lines(connection: Connection, lines: Iterable[NewLine]) -> None:
    """Insert many lines by `COPY`. Nothing counts them until their part is valid.

    Raises:
        IntegrityError: a custom_id stands in the batch already.
    """
    driver = cast("Driver[tuple[object, ...]]", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for line in lines:
            copy.write_row(line)


def lines_of_jobs(connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, LineOfJob]:
    """The lines of those jobs that are of a batch, by job; they are locked until the transaction ends."""
    rows = connection.execute(_OF_JOBS, {"job_ids": list(job_ids)})
    return {row.job_id: LineOfJob(row.batch_id, row.number, LineState(row.state)) for row in rows}


def delete_lines(connection: Connection, batch_id: UUID, first_number: int, most: int) -> int:
    """Delete at most `most` lines of a batch from a number on; the number of those that were deleted."""
    values = {"batch_id": batch_id, "first_number": first_number, "most": most}
    return connection.execute(_DELETE, values).rowcount
