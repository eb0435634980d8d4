"""Files of accounts: begun before their first byte, stored with their digest, hidden, removed.

The row is the lock: whoever names a file in a batch locks the row in share mode first, and the removal of its
bytes locks it alone. So the bytes of a file that a batch is about to name stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file whose upload begins. `batch_id`: the batch whose results it has."""

    id: UUID
    account_id: UUID
    purpose: str
    filename: str
    storage_key: str
    batch_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is stored."""

    id: UUID
    purpose: str
    filename: str
    storage_key: str
    size_bytes: int
    sha256: bytes
    created_at: datetime
    expires_at: datetime | None


_COLUMNS = "id, purpose, filename, storage_key, size_bytes, sha256, created_at, expires_at"
_SHOWN = """
    stored_at IS NOT NULL AND deleted_at IS NULL AND removed_at IS NULL
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""

# Uploads of one account begin one after the other, so that they are counted. The lock is of this transaction.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('uploads of ' || :account_id, 0))")

_BEGIN = text("""
    INSERT INTO files (id, account_id, purpose, filename, storage_key, batch_id, leased_until)
    SELECT :id, :account_id, :purpose, :filename, :storage_key, :batch_id,
        clock_timestamp() + make_interval(secs => :seconds)
    WHERE (
        SELECT count(*) FROM files
        WHERE account_id = :account_id AND stored_at IS NULL AND leased_until > clock_timestamp()
            AND batch_id IS NULL
    ) < :most
    RETURNING id
""")

_RENEW = text("""
    UPDATE files SET leased_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :id AND stored_at IS NULL AND removed_at IS NULL RETURNING id
""")

_END = text(f"""
    UPDATE files
    SET stored_at = clock_timestamp(), leased_until = NULL, size_bytes = :size_bytes, sha256 = :sha256,
        purpose = :purpose, filename = :filename, expires_at = created_at + make_interval(secs => :seconds)
    WHERE id = :id AND stored_at IS NULL AND removed_at IS NULL RETURNING {_COLUMNS}
""")  # noqa: S608  # the columns are constants, as below

_FIND = text(f"SELECT {_COLUMNS} FROM files WHERE id = :id AND account_id = :account_id AND {_SHOWN}")  # noqa: S608

_LOCK = text(f"{_FIND.text} FOR SHARE")

_LIST = {
    True: text(f"""
        SELECT {_COLUMNS} FROM files
        WHERE account_id = :account_id AND (CAST(:purpose AS text) IS NULL OR purpose = :purpose)
            AND (CAST(:after AS uuid) IS NULL OR id < :after) AND {_SHOWN}
        ORDER BY id DESC LIMIT :most
    """),  # noqa: S608
    False: text(f"""
        SELECT {_COLUMNS} FROM files
        WHERE account_id = :account_id AND (CAST(:purpose AS text) IS NULL OR purpose = :purpose)
            AND (CAST(:after AS uuid) IS NULL OR id > :after) AND {_SHOWN}
        ORDER BY id LIMIT :most
    """),  # noqa: S608
}

_HIDE = text(f"""
    UPDATE files SET deleted_at = clock_timestamp()
    WHERE id = :id AND account_id = :account_id AND {_SHOWN} RETURNING id
""")  # noqa: S608

_LOCK_OVER = text("""
    SELECT id, storage_key FROM files
    WHERE removed_at IS NULL AND LEAST(deleted_at, expires_at, leased_until) < clock_timestamp()
        AND id > :after
        AND NOT EXISTS (
            SELECT FROM batches
            WHERE batches.input_file_id = files.id AND batches.ended_at IS NULL
        )
        AND NOT EXISTS (
            SELECT FROM batch_parts JOIN batches ON batches.id = batch_parts.batch_id
            WHERE batch_parts.file_id = files.id AND batches.ended_at IS NULL
        )
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
""")

_NAMED = text("""
    SELECT EXISTS (
        SELECT FROM batch_parts JOIN batches ON batches.id = batch_parts.batch_id
        WHERE batch_parts.file_id = :id AND batches.ended_at IS NULL
    )
""")

_GIVE_UP = text("UPDATE files SET leased_until = clock_timestamp() WHERE id = :id AND stored_at IS NULL")

_FORGET = text("DELETE FROM files WHERE id = :id AND stored_at IS NULL")

_REMOVED = text("UPDATE files SET removed_at = clock_timestamp() WHERE id = :id")


def begin_file(connection: Connection, new: NewFile, *, most: int, lease_seconds: float) -> bool:
    """Insert the row of a file that is about to be uploaded.

    Args:
        connection: whose transaction it is.
        new: the file.
        most: how many uploads of the account may run at a time, those of results not counted.
        lease_seconds: when it counts as broken off, unless it is renewed.

    Returns:
        Whether it may begin; False: too many run.
    """
    connection.execute(_ALONE, {"account_id": str(new.account_id)})
    values = {
        "id": new.id,
        "account_id": new.account_id,
        "purpose": new.purpose,
        "filename": new.filename,
        "storage_key": new.storage_key,
        "batch_id": new.batch_id,
        "most": most,
        "seconds": lease_seconds,
    }
    return connection.execute(_BEGIN, values).scalar_one_or_none() is not None


def renew_file(connection: Connection, file_id: UUID, lease_seconds: float) -> bool:
    """Renew the lease of an upload; False: it was taken for broken off, and its bytes are being removed."""
    values = {"id": file_id, "seconds": lease_seconds}
    return connection.execute(_RENEW, values).scalar_one_or_none() is not None


def give_up_file(connection: Connection, file_id: UUID) -> None:
    """Take an upload for broken off; what is left of it is removed later."""
    connection.execute(_GIVE_UP, {"id": file_id})


def end_file(  # noqa: PLR0913  # what is known at the end of an upload
    connection: Connection,
    file_id: UUID,
    *,
    size_bytes: int,
    sha256: bytes,
    purpose: str,
    filename: str,
    expires_seconds: int | None,
) -> StoredFile | None:
    """Record that a file is stored; None: its upload was taken for broken off."""
    values = {
        "id": file_id,
        "size_bytes": size_bytes,
        "sha256": sha256,
        "purpose": purpose,
        "filename": filename,
        "seconds": expires_seconds,
    }
    row = connection.execute(_END, values).one_or_none()
    return StoredFile(*row) if row else None


def find_file(
    connection: Connection, account_id: UUID, file_id: UUID, *, lock: bool = False
) -> StoredFile | None:
    """An account's file; None: there is none, or it is deleted or expired. `lock`: it stays as it is."""
    row = connection.execute(
        _LOCK if lock else _FIND, {"id": file_id, "account_id": account_id}
    ).one_or_none()
    return StoredFile(*row) if row else None


def list_files(  # noqa: PLR0913  # what a client may say of a page
    connection: Connection,
    account_id: UUID,
    *,
    purpose: str | None,
    after: UUID | None,
    most: int,
    newest_first: bool,
) -> Sequence[StoredFile]:
    """An account's files behind `after`, of one purpose if it is given."""
    values = {"account_id": account_id, "purpose": purpose, "after": after, "most": most}
    return [StoredFile(*row) for row in connection.execute(_LIST[newest_first], values)]


def hide_file(connection: Connection, account_id: UUID, file_id: UUID) -> bool:
    """Delete a file for its account; its bytes are removed later. Whether there was one."""
    row = connection.execute(_HIDE, {"id": file_id, "account_id": account_id}).scalar_one_or_none()
    return row is not None


def lock_over(connection: Connection, after: UUID) -> tuple[UUID, str] | None:
    """Lock the next file that is over and that no unfinished batch names: its id and its storage key."""
    row = connection.execute(_LOCK_OVER, {"after": after}).one_or_none()
    if row is None or connection.execute(_NAMED, {"id": row.id}).scalar_one():
        return None
    return row.id, row.storage_key


def mark_removed(connection: Connection, file_id: UUID) -> None:
    """Record that the bytes of a file are gone; of an upload that broke off nothing is kept."""
    connection.execute(_FORGET, {"id": file_id})
    connection.execute(_REMOVED, {"id": file_id})
