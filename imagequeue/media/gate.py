"""How many images this process decodes, and how many it stores, at a time.

Decoding needs a core and memory, and so does parsing an answer (its base64), which belongs inside the gate
too: the answers of 64 calls wait for it on disk. Storing waits for a network with an image in memory. It has
places of its own, so that a slow storage delays no decoding.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType


class Gate:
    """Lets `places` threads through at a time; a thread that is inside may enter again."""

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._inside = threading.local()

    def __enter__(self) -> None:
        depth: int = getattr(self._inside, "depth", 0)
        if depth == 0:
            self._places.acquire()
        self._inside.depth = depth + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.depth -= 1
        if self._inside.depth == 0:
            self._places.release()


MOST_DECODING = 4
"""The most decodings at a time, on any number of cores: a decoded image takes up to 200 MB of memory."""

DECODING = Gate(
    min(
        MOST_DECODING,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
)
"""The gate of this process for decoding: a place for each core that it may use."""

STORING = Gate(8)
"""The gate of this process for puts into the storage. Each holds an image of up to 64 MiB in memory."""
