"""The pause of a loop that a wake-up in Redis may end."""

from __future__ import annotations

import threading
import time

from imagequeue.runtime import Runtime, open_redis
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
        self._listener = WakeupListener(open_redis(runtime.settings.redis_url.get_secret_value()), *channels)
        self._stopping = stopping

    def __call__(self, done: int) -> None:
        """Wait. How much the last look did (`done`) changes nothing, because a look is bounded."""
        del done
        began = time.monotonic()
        self._listener.wait(LOOK_SECONDS)
        rest = LEAST_PAUSE_SECONDS - (time.monotonic() - began)
        if rest > 0:
            self._stopping.wait(rest)
