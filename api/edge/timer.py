"""The one timer of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Look = Callable[[], None]


class ConnectionTimer:
    """Calls `look` when something may be due, and at least every `most_seconds`.

    It is not moved to a later time: most requests are over long before, and two calls of the event loop for
    each of them would be felt. `look` says when to look again. Times are those of the event loop, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most_seconds: float, look: Look) -> None:
        self._loop = loop
        self._most_seconds = most_seconds
        self._look = look
        self._handle: asyncio.TimerHandle | None = None

    def look_at(self, when: float | None) -> None:
        """Look then, or before."""
        if when is not None and self._handle is not None and self._handle.when() <= when:
            return  # as with most requests
        latest = self._loop.time() + self._most_seconds
        when = latest if when is None else min(when, latest)
        if self._handle is not None:
            if self._handle.when() <= when:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._fire)

    def cancel(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        self._handle = None
        self._look()
