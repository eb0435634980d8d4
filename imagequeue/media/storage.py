"""What a storage is. Objects are immutable: a key is written once.

StorageError
├── StorageUnavailable   it does not work now: disk full, network, credentials; the caller may try again
├── ObjectMissing        there is no object with this key
└── KeyConflict          the key holds other bytes: a fault of this program, not of the storage
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol


class StorageError(Exception):
    """A storage operation did not succeed."""


class StorageUnavailable(StorageError):
    """The storage cannot be used at the moment."""


class ObjectMissing(StorageError):
    """There is no object with this key."""


class KeyConflict(StorageError):
    """The key holds other bytes already."""


class ObjectUpload(AbstractContextManager["ObjectUpload"], Protocol):
    """An object that is being written. It is there once `finish` has returned.

    Leaving the context without that removes what was sent. One thread at a time may use it.
    """

    def write(self, content: bytes) -> None:
        """Add bytes, any number of them.

        Raises:
            StorageUnavailable: they could not be sent; the upload is over.
        """
        ...

    def finish(self) -> None:
        """Make the object.

        Raises:
            KeyConflict: the key holds an object already; not every storage sees it.
            StorageUnavailable: it could not be made.
        """
        ...


class Storage(Protocol):
    """A directory or a bucket. Every method may be called from many threads.

    Every method may raise StorageUnavailable.
    """

    def put(self, key: str, content: bytes, media_type: str) -> None:
        """Store an object; storing the same bytes again is fine.

        Raises:
            KeyConflict: the key holds other bytes.
        """
        ...

    def get(self, key: str) -> bytes:
        """Read an object.

        Raises:
            ObjectMissing: there is none.
        """
        ...

    def read(self, key: str, begin: int, size: int) -> bytes:
        """Read `size` bytes of an object, from the byte number `begin` (from 0); fewer where it ends.

        Raises:
            ObjectMissing: there is none.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object with this key."""
        ...

    def delete(self, *keys: str) -> None:
        """Remove objects, many at once where the storage can; one that is not there is fine."""
        ...

    def upload(self, key: str, media_type: str) -> ObjectUpload:
        """Begin to write an object that is larger than memory; no other upload may have its key."""
        ...

    def abort_uploads(self, before: datetime) -> int:
        """Remove what is left of uploads that were begun before then and have not ended; how many there were.

        An upload that still runs is removed too, so `before` must be older than any that runs.
        """
        ...

    def url(self, key: str, *, lifetime: timedelta = timedelta(hours=1)) -> str | None:
        """A new URL that needs no credentials; None: the storage has no server of its own."""
        ...

    def check_room(self) -> None:
        """Return if there is room for more, as far as that can be known without a write; cheap."""
        ...

    def check_write(self) -> None:
        """Write and remove a small object; return if that worked."""
        ...
