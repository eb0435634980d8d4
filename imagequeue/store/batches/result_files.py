"""The files with the results of batches: which are to be written, who writes them, and which are there.

A batch that was retried ends once more, with new files; those of before stay readable. So a file counts only
if it was begun after its batch came to the state in which it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import LineState
from imagequeue.store.batches.files import NewFile

OUTPUT_STATES = frozenset({LineState.COMPLETED, LineState.SKIPPED})
"""Lines that stand in the output file; every other line stands in the error file."""

ERROR_STATES = frozenset({LineState.FAILED, LineState.UNKNOWN, LineState.CANCELLED, LineState.EXPIRED})

_BEGUN = "coalesce(cancelling_at, finalizing_at)"

# The oldest of each account first, of a random one: an account with many batches delays the others by one.
_ENDING = text(f"""
    SELECT batches.id, account_id, client_headers, output_expires_after_seconds,
        {_BEGUN} AS begun_at,
        completed + skipped > 0 AS has_output, failed + unknown + cancelled + expired > 0 AS has_errors
    FROM batches JOIN batch_counters ON batch_counters.batch_id = batches.id
    WHERE batches.state IN ('finalizing', 'cancelling') AND waiting + queued = 0
        AND (CAST(:id AS uuid) IS NULL OR batches.id = :id)
    ORDER BY row_number() OVER (PARTITION BY account_id ORDER BY {_BEGUN}, batches.id), random() LIMIT :most
""")  # noqa: S608  # a constant

_WRITTEN = text("""
    SELECT filename, id FROM files
    WHERE batch_id = :batch_id AND stored_at IS NOT NULL AND removed_at IS NULL AND created_at >= :begun_at
""")

# Writers of one batch begin one after the other. The lock is of this transaction.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('results of ' || :batch_id, 0))")

_BEGIN = text("""
    INSERT INTO files (id, account_id, purpose, filename, storage_key, batch_id, leased_until)
    SELECT :id, :account_id, :purpose, :filename, :storage_key, :batch_id,
        clock_timestamp() + make_interval(secs => :seconds)
    WHERE NOT EXISTS (
        SELECT FROM files
        WHERE batch_id = :batch_id AND filename = :filename AND removed_at IS NULL AND created_at >= :begun_at
            AND (stored_at IS NOT NULL OR leased_until > clock_timestamp())
    )
    RETURNING id
""")


@dataclass(frozen=True, slots=True)
class EndingBatch:
    """A batch whose lines have all finished. `begun_at`: when it came to its state."""

    id: UUID
    account_id: UUID
    client_headers: dict[str, str]
    output_expires_after_seconds: int | None
    begun_at: datetime
    has_output: bool
    has_errors: bool


def ending_batches(connection: Connection, most: int) -> list[EndingBatch]:
    """Batches whose lines have all finished: of each account the one first that has waited longest."""
    return _ending(connection, None, most)


def ending_batch(connection: Connection, batch_id: UUID) -> EndingBatch | None:
    """A batch, if all of its lines have finished and it has not ended."""
    return next(iter(_ending(connection, batch_id, 1)), None)


def written_files(connection: Connection, batch: EndingBatch) -> dict[str, UUID]:
    """The files that are written for this end of a batch, by name."""
    values = {"batch_id": batch.id, "begun_at": batch.begun_at}
    return {row.filename: row.id for row in connection.execute(_WRITTEN, values)}


def begin_result_file(
    connection: Connection, new: NewFile, *, batch: EndingBatch, filename: str, lease_seconds: float
) -> bool:
    """Insert the row of a file that is about to be written; False: it is written, or somebody writes it."""
    connection.execute(_ALONE, {"batch_id": str(batch.id)})
    values: dict[str, Any] = {
        "id": new.id,
        "account_id": new.account_id,
        "purpose": new.purpose,
        "filename": filename,
        "storage_key": new.storage_key,
        "batch_id": batch.id,
        "begun_at": batch.begun_at,
        "seconds": lease_seconds,
    }
    return connection.execute(_BEGIN, values).scalar_one_or_none() is not None


def _ending(connection: Connection, batch_id: UUID | None, most: int) -> list[EndingBatch]:
    rows = connection.execute(_ENDING, {"id": batch_id, "most": most}).mappings()
    return [EndingBatch(**row) for row in rows]
