"""Available slots: how many calls this process takes, which is none while their images could not be kept.

A process that begins its calls late takes fewer (`punctuality.py`). The storage must take puts, and there
must be room on both disks of this machine: where images spill while the storage is away, and where answers
wait to be read. A heartbeat reports the number, and the dispatcher grants no more.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import structlog

from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.media.spill import Spill
from imagequeue.media.storage import StorageUnavailable
from imagequeue.spooling import temporary_free_bytes

log = structlog.get_logger()

LEAST_FREE_BYTES = 256 * 1024 * 1024
"""With less room on the disk where images spill, no worker slots are reported."""

LEAST_TEMPORARY_BYTES = 64 * 1024 * 1024
"""With less room for temporary files no worker slots are reported: it is the largest answer of an upstream.

Less than `LEAST_FREE_BYTES`, because a container often has a small file system in memory for them.
"""


@dataclass(slots=True)
class StorageHealth:
    """Whether puts work. While one is failing, or in doubt, the process offers no slots."""

    failing: int = 0
    doubted: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def works(self) -> bool:
        """Whether no put is failing at the moment, and nothing else is known to be wrong."""
        return self.failing == 0 and not self.doubted

    def failed(self, change: int) -> None:
        """Count puts that began (+1) or ceased (-1) to fail."""
        with self._lock:
            self.failing += change

    def doubt(self) -> None:
        """Something is wrong with the storage; the storage check finds out when it works again."""
        self.doubted = True

    def trust(self) -> None:
        """The storage check has succeeded."""
        self.doubted = False


@dataclass(frozen=True, slots=True)
class AvailableSlots:
    """How many calls this process can take now: 0 while their images could not be stored."""

    punctuality: Punctuality
    health: StorageHealth
    spill: Spill
    stopping: threading.Event

    def __call__(self) -> int:
        """The free worker slots that the next heartbeat reports."""
        takes = self.health.works and not self.stopping.is_set() and self._room()
        return self.punctuality.slots() if takes else 0

    def _room(self) -> bool:
        try:
            return (
                self.spill.free_bytes() >= LEAST_FREE_BYTES
                and temporary_free_bytes() >= LEAST_TEMPORARY_BYTES
            )
        except StorageUnavailable as error:
            log.warning("spill_directory_unusable", reason=str(error))
        except OSError as error:
            log.warning("temporary_directory_unusable", reason=str(error))
        return False
