"""Storage check: does the storage take images? While it does not, this process reports no worker slots.

While a put fails, `store_images.py` repeats it and no slots are reported. This loop finds the rest: when the
process begins, after an input image could not be read, or when the disk is nearly full, no slots are reported
until a write, a read and a removal have succeeded (docs/design/pipeline.md, "Storage away"). It is a loop of
its own because a storage that hangs must not delay the heartbeat, which reports the slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from imagequeue.lifecycle.generate.available_slots import StorageHealth
from imagequeue.media.storage import Storage, StorageUnavailable

log = structlog.get_logger()

INTERVAL_SECONDS = 5.0
"""Between two checks: an outage that is over costs at most this much more."""


@dataclass(frozen=True, slots=True)
class StorageCheck:
    """Checks one storage, and records the result in `health`."""

    storage: Storage
    health: StorageHealth

    def run_once(self) -> int:
        """Check the room, or write while in doubt; 1 when the storage takes images, 0 when it does not."""
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
