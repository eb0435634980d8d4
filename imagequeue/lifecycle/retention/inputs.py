"""Input retention: delete an input image that was sent as data when no job names it any more.

Its key is the hash of its content, so jobs share it, and a submit may be about to name it at any moment. The
protocol between submit and deletion:

1. A submit first sets `kept_until` to a day from now, in a commit of its own, then stores the object, then
   commits the job that names it. (All of that takes seconds; a day is the bound.)
2. The deletion locks a row whose `kept_until` has passed. If a job that is not forgotten names the key, it
   sets `kept_until` to a day later. Otherwise it deletes the object, then the row, in one transaction.
3. A submit that comes meanwhile waits for that lock, finds no row and stores the image again.

So an image outlives the last job that named it by a day at most, and so does one whose submit was refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from imagequeue.lifecycle.retention.jobs import RUN_SECONDS
from imagequeue.media.storage import Storage
from imagequeue.store.jobs import input_images

INTERVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class InputRetention:
    """Deletes input images. `clock` gives monotonic seconds."""

    engine: Engine
    storage: Storage
    clock: Callable[[], float] = time.monotonic

    def run_once(self) -> int:
        """Check the images whose `kept_until` has passed, for `RUN_SECONDS`; how many were deleted.

        Raises:
            StorageUnavailable: the image that was to be deleted stays, and its row too.
        """
        until = self.clock() + RUN_SECONDS
        deleted = 0
        while self.clock() <= until:
            outcome = self._check_next()
            if outcome is None:
                break
            deleted += outcome
        return deleted

    def _check_next(self) -> bool | None:
        """Whether an image was deleted; None: none is due. The row is locked while the storage deletes."""
        with self.engine.begin() as connection:
            key = input_images.lock_due(connection)
            if key is None:
                return None
            if input_images.is_named(connection, key):
                input_images.keep(connection, key)
                return False
            self.storage.delete(key)
            input_images.forget(connection, key)
            return True
