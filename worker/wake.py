"""The pauses of loops that a wake-up may end: one that comes by Redis, or of a thread of the process."""

from __future__ import annotations

import threading
import time

from imagequeue.redis_server.client import open_redis
from imagequeue.runtime import Runtime
from imagequeue.wakeup import WakeupListener

LOOK_SECONDS = 0.25
"""Such a loop looks at least this often, so a wake-up that is lost costs no more.

Source: docs/design/pipeline.md, "Dispatch".
"""

LEAST_PAUSE_SECONDS = 0.005
"""Between two looks, so that wake-ups that come close together cause one look."""


class Wake:
    """Waits for a wake-up in Redis, and no longer than `LOOK_SECONDS`."""

    def __init__(self, runtime: Runtime, stopping: threading.Event, *channels: str) -> None:
        self._listener = WakeupListener(open_redis(runtime.settings.redis_address), *channels)
        self._stopping = stopping

    def __call__(self, done: int) -> None:
        """Wait. How much the last look did (`done`) changes nothing, because a look is bounded."""
        del done
        began = time.monotonic()
        self._listener.wait(LOOK_SECONDS)
        rest = LEAST_PAUSE_SECONDS - (time.monotonic() - began)
        if rest > 0:
            self._stopping.wait(rest)


class UntilSet:
    """Waits until an event of this process is set, and no longer than `LOOK_SECONDS`; clears it."""

    def __init__(
        self, event: threading.Event, stopping: threading.Event, *, least_seconds: float = LEAST_PAUSE_SECONDS
    ) -> None:
        self._event = event
        self._stopping = stopping
        self._least_seconds = least_seconds
        self._looked = time.monotonic()

    def __call__(self, done: int) -> None:
        """Wait. Two passes begin `least_seconds` apart, so that work for one statement gathers."""
        del done
        self._event.wait(LOOK_SECONDS)
        self._stopping.wait(max(0.0, self._looked + self._least_seconds - time.monotonic()))
        self._event.clear()
        self._looked = time.monotonic()
