"""Ends waits that take too long. All who may wait equally long share a timer: one for each would be felt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import Generic, TypeVar

W = TypeVar("W")


class Deadlines(Generic[W]):
    """Calls `expire` with each one that was added `seconds` ago and not removed since. For one event loop."""

    def __init__(self, seconds: float, expire: Callable[[W], None]) -> None:
        self._seconds = seconds
        self._expire = expire
        self._due: dict[W, float] = {}  # in the order in which they are due
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: W) -> None:
        """Let the time of one begin."""
        loop = asyncio.get_running_loop()
        due = self._due[one] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)

    def remove(self, one: W) -> None:
        """It has ended by itself."""
        self._due.pop(one, None)

    def _look(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        now = loop.time()
        for one, _ in list(takewhile(lambda found: found[1] <= now, self._due.items())):
            del self._due[one]
            self._expire(one)
        if self._due and self._timer is None:
            self._timer = loop.call_at(next(iter(self._due.values())), self._look)
