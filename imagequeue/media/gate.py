"""How many images this process decodes, and how many it stores, at a time.

Decoding is what needs memory and a core. 64 answers of 4 MB wait on disk for it; parsing an answer (its
base64) belongs inside the gate too. Storing needs the bytes of an image and waits for a network: it has
places of its own, so that a slow storage holds up no decoding.
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
"""However many cores there are: a decoded image takes 100 MB (`media/images.py`)."""

DECODING = Gate(
    min(
        MOST_DECODING,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
)
"""The gate of this process for what decodes: as many as it has cores."""

STORING = Gate(8)
"""The gate of this process for what puts an image into the storage."""
