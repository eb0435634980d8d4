"""Files: take them from a client as they come, hide them, and remove what is over.

A file is a row before its first byte, with a lease that each part renews. So an upload that a killed process
left is found by its lease, and the number of uploads of an account is counted over all processes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, Engine

from imagequeue.domain.errors import NotFound, ServiceUnavailable, TooManyRequests
from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.retention.jobs import RUN_SECONDS
from imagequeue.media.storage import Storage, StorageUnavailable
from imagequeue.runtime import Runtime
from imagequeue.store.batches import files
from imagequeue.store.batches.files import NewFile, StoredFile

MOST_UPLOADS = 2
"""At a time and account: each keeps a thread busy now and then, and bytes in memory."""

LEASE_SECONDS = 600.0
"""Of an upload, renewed with each part: a part takes 128 s at the least rate, then the storage its time."""

ABANDONED = timedelta(days=1)
"""An upload that began earlier has ended: 1 GiB takes five hours at the least rate."""

INTERVAL_SECONDS = 60.0

JSON_LINES = "application/jsonl"


InsertFile = Callable[[Connection, NewFile], bool]
"""Inserts the row of a file before its first byte; False: it may not begin."""


class FileUpload:
    """A file that is written part by part: its row first, with a lease, then its object.

    Every method writes to the database and to the storage, so none may run in the thread of an event loop.
    """

    def __init__(self, runtime: Runtime, account_id: UUID, batch_id: UUID | None = None) -> None:
        self.size_bytes = 0
        self._engine, self._storage = runtime.engine, runtime.storage
        self._file = NewFile(
            id=(file_id := new_id()),
            account_id=account_id,
            purpose="",
            filename="",
            storage_key=f"files/{account_id}/{file_id}",
            batch_id=batch_id,
        )
        self._digest = hashlib.sha256()
        self._stack = ExitStack()

    def begin(self, insert: InsertFile) -> bool:
        """Insert its row and open its object; False: it may not begin.

        Raises:
            ServiceUnavailable: the storage is away.
            DBAPIError: the database is away.
        """
        with self._engine.begin() as connection:
            if not insert(connection, self._file):
                return False
        try:
            self._object = self._stack.enter_context(self._storage.upload(self._file.storage_key, JSON_LINES))
        except StorageUnavailable as error:
            self.abandon()
            raise _away() from error
        return True

    def write(self, content: bytes) -> None:
        """Add bytes, and renew the lease.

        Raises:
            ServiceUnavailable: the storage is away, or took so long that the lease was over.
            DBAPIError: the database is away.
        """
        self._digest.update(content)
        self.size_bytes += len(content)
        try:
            self._object.write(content)
        except StorageUnavailable as error:
            raise _away() from error
        with self._engine.begin() as connection:
            if not files.renew_file(connection, self._file.id, LEASE_SECONDS):
                raise ServiceUnavailable("The upload took too long; try again")

    def finish(self, *, purpose: str, filename: str, expires_seconds: int | None) -> StoredFile:
        """Make the object, then say in its row that it is stored.

        Raises:
            ServiceUnavailable: as `write`.
            DBAPIError: the database is away.
        """
        try:
            self._object.finish()
        except StorageUnavailable as error:
            raise _away() from error
        with self._engine.begin() as connection:
            stored = files.end_file(
                connection,
                self._file.id,
                size_bytes=self.size_bytes,
                sha256=self._digest.digest(),
                purpose=purpose,
                filename=filename,
                expires_seconds=expires_seconds,
            )
        if stored is None:
            raise ServiceUnavailable("The upload took too long; try again")
        self._stack.close()
        return stored

    def abandon(self) -> None:
        """Remove what came, and free the account's place; a storage that is away leaves it to the sweep."""
        self._stack.close()
        with self._engine.begin() as connection:
            files.give_up_file(connection, self._file.id)


def begin_upload(runtime: Runtime, account_id: UUID) -> FileUpload:
    """Begin the upload of a client.

    Raises:
        TooManyRequests: `MOST_UPLOADS` of the account run.
        ServiceUnavailable: the storage is away.
        DBAPIError: the database is away.
    """
    upload = FileUpload(runtime, account_id)
    if not upload.begin(partial(files.begin_file, most=MOST_UPLOADS, lease_seconds=LEASE_SECONDS)):
        raise TooManyRequests(f"{MOST_UPLOADS} files are being uploaded already", retry_after=5)
    return upload


def _away() -> ServiceUnavailable:
    return ServiceUnavailable("Files cannot be stored at the moment; try again")


def hide_file(runtime: Runtime, account_id: UUID, file_id: UUID) -> None:
    """Delete a file for its account. Its bytes go when no unfinished batch names it.

    Raises:
        NotFound: the account has no such file.
    """
    with runtime.engine.begin() as connection:
        if not files.hide_file(connection, account_id, file_id):
            raise NotFound


@dataclass(frozen=True, slots=True)
class FileRetention:
    """Removes the bytes of files that are deleted or expired, and what broken uploads left."""

    engine: Engine
    storage: Storage
    clock: Callable[[], float] = time.monotonic

    def run_once(self) -> int:
        """Remove for `RUN_SECONDS`; how many files and broken uploads there were.

        Raises:
            StorageUnavailable: the file that was to be removed stays, and its row too.
        """
        until, removed, after = self.clock() + RUN_SECONDS, 0, UUID(int=0)
        while self.clock() <= until and (found := self._remove_next(after)) is not None:
            removed, after = removed + 1, found
        return removed + self.storage.abort_uploads(datetime.now(UTC) - ABANDONED)

    def _remove_next(self, after: UUID) -> UUID | None:
        """Remove the next file that is over; its row is locked while the storage deletes. None: none is."""
        with self.engine.begin() as connection:
            found = files.lock_over(connection, after)
            if found is not None:
                self.storage.delete(found[1])
                files.mark_removed(connection, found[0])
            return found and found[0]
