"""Retain inputs: an input image that was sent as data is deleted when no job names it any more.

Its name is its content, so jobs share it and a submit may be about to name it at any moment. The rule, which
needs no luck:

1. A submit first puts `kept_until` a day off, in a commit of its own, then stores the object, then commits
   the job that names it. (All of that takes seconds; a day is the bound.)
2. Whoever deletes locks the row when `kept_until` has passed. If a job that is not forgotten names the key,
   the next look is a day later. Otherwise the object goes, then the row, in one transaction.
3. A submit that comes meanwhile waits for that lock, finds the object gone and stores it again.

So an image outlives the last job that named it by a day at most, and one whose submit was refused goes too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from imagequeue.lifecycle.retention.jobs import TURN_SECONDS
from imagequeue.media.storage import Storage
from imagequeue.store.jobs import input_images

INTERVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class InputRetention:
    """The verb, with what it needs."""

    engine: Engine
    storage: Storage
    clock: Callable[[], float] = time.monotonic

    def run_once(self) -> int:
        """Look at the images whose look is due, for a while; how many were deleted.

        Raises:
            StorageUnavailable: the image at hand stays, and its row too.
        """
        until = self.clock() + TURN_SECONDS
        deleted = 0
        while self.clock() <= until:
            outcome = self._look()
            if outcome is None:
                break
            deleted += outcome
        return deleted

    def _look(self) -> bool | None:
        """Whether an image was deleted; None when none is due. The lock is held while the storage deletes."""
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
