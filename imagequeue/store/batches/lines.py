"""The lines of batches: copied by validation, found by their jobs, deleted when their part is not valid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
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
        WHERE batch_id = :batch_id AND number BETWEEN :first AND :last ORDER BY number LIMIT :most
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


def delete_lines(connection: Connection, batch_id: UUID, first: int, last: int, most: int) -> int:
    """Delete at most `most` lines of a batch by their numbers; how many were deleted."""
    values = {"batch_id": batch_id, "first": first, "last": last, "most": most}
    return connection.execute(_DELETE, values).rowcount


_EARLIER = text("""
    SELECT DISTINCT ON (custom_id) custom_id, batch_id, number, body_digest,
        coalesce(job_id, earlier_job_id) AS job_id
    FROM batches JOIN batch_lines ON batch_lines.batch_id = batches.id
    WHERE batches.account_id = :account_id AND batches.id <> :batch_id AND batches.forgotten_at IS NULL
        AND custom_id = ANY(:custom_ids) AND batch_lines.state IN ('completed', 'skipped')
        AND EXISTS (
            SELECT FROM jobs
            WHERE jobs.id = coalesce(job_id, earlier_job_id) AND forgotten_at IS NULL
        )
    ORDER BY custom_id, batch_id DESC
""")

_NUMBERS = text("""
    SELECT custom_id, number FROM batch_lines WHERE batch_id = :batch_id AND custom_id = ANY(:custom_ids)
""")

_CUSTOM_IDS = text("SELECT custom_id FROM batch_lines WHERE batch_id = :batch_id")


@dataclass(frozen=True, slots=True)
class EarlierLine:
    """A line of an earlier batch of the same account that was completed, and whose images are still kept."""

    batch_id: UUID
    number: int
    body_digest: bytes
    job_id: UUID


def earlier_lines(
    connection: Connection, account_id: UUID, batch_id: UUID, custom_ids: Collection[str]
) -> dict[str, EarlierLine]:
    """The newest such lines of other batches, by their custom_id."""
    values = {"account_id": account_id, "batch_id": batch_id, "custom_ids": list(custom_ids)}
    return {
        row.custom_id: EarlierLine(row.batch_id, row.number, bytes(row.body_digest or b""), row.job_id)
        for row in connection.execute(_EARLIER, values)
    }


def numbers_of(connection: Connection, batch_id: UUID, custom_ids: Collection[str]) -> dict[str, int]:
    """The numbers of a batch's lines by custom_id, of those that are there."""
    values = {"batch_id": batch_id, "custom_ids": list(custom_ids)}
    return {row.custom_id: row.number for row in connection.execute(_NUMBERS, values)}


def custom_ids(connection: Connection, batch_id: UUID) -> Iterator[str]:
    """The custom_ids of all lines of a batch, as they come from the server."""
    rows = connection.execution_options(yield_per=10_000).execute(_CUSTOM_IDS, {"batch_id": batch_id})
    yield from rows.scalars()
