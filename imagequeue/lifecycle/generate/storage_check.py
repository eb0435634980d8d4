"""Probe: does the storage take images? While it does not, this process offers no slots.

A put that failed is tried again until it works, and meanwhile there are no slots anyway (`keep`). What
remains is found here: an input that could not be read, and a disk that is nearly full. From then on nothing
is granted until a write has succeeded (docs/design/pipeline.md, "Storage away"). It is a loop of its own,
because a storage that hangs must not keep the heartbeat, which reports the slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from imagequeue.lifecycle.generate.store_images import StorageHealth
from imagequeue.media.storage import Storage, StorageUnavailable

log = structlog.get_logger()

INTERVAL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StorageCheck:
    """The verb, with what it needs."""

    storage: Storage
    health: StorageHealth

    def run_once(self) -> int:
        """Look for room, or write while in doubt; 1 when the storage takes images, 0 when it does not."""
        try:
            if self.health.doubted:
                self.storage.check_write()
            else:
                self.storage.check_room()
        except StorageUnavailable as error:
            log.warning("storage_doubted", reason=str(error))
            self.health.doubt()
            return 0
        self.health.trust()
        return 1
