"""Which stored input images several jobs may name, and until when each one stays at least.

The row is the lock: a submit moves `kept_until` before it stores the object, and a deletion locks the row
until the object is gone. So an image that a submit is about to name stays, or is deleted before the submit
stores it.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

KEPT_SECONDS = 24 * 3600
"""How long an image stays for a submit that has not committed yet, and the time between two checks of it."""

_KEEP = text("""
    INSERT INTO input_images (storage_key, kept_until)
    VALUES (:key, clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (storage_key) DO UPDATE SET kept_until = excluded.kept_until
""")

_DUE = text("""
    SELECT storage_key FROM input_images WHERE kept_until < clock_timestamp()
    ORDER BY kept_until LIMIT 1 FOR UPDATE SKIP LOCKED
""")

_NAMED = text("""
    SELECT EXISTS (
        SELECT FROM job_requests
        WHERE parameters -> 'input_images' <> '[]'::jsonb AND parameters -> 'input_images' ? :key
    ) OR EXISTS (
        SELECT FROM job_requests WHERE parameters ->> 'mask' IS NOT NULL AND parameters ->> 'mask' = :key
    ) OR EXISTS (
        SELECT FROM batch_inputs JOIN batches ON batches.id = batch_id
        WHERE storage_key = :key AND ended_at IS NULL
    )
""")


def keep(connection: Connection, key: str) -> None:
    """Let an image stay for another day; it need not be stored yet."""
    connection.execute(_KEEP, {"key": key, "seconds": KEPT_SECONDS})


def lock_due(connection: Connection) -> str | None:
    """Lock the image whose check has been due longest; returns its key, or None."""
    return connection.execute(_DUE).scalar_one_or_none()


def is_named(connection: Connection, key: str) -> bool:
    """Whether a job that is not forgotten names the image, or a batch that has not ended."""
    return connection.execute(_NAMED, {"key": key}).scalar_one()


def forget(connection: Connection, key: str) -> None:
    """Delete the row of an image that is not stored any more."""
    connection.execute(text("DELETE FROM input_images WHERE storage_key = :key"), {"key": key})
