"""Punctuality: how late this process begins its calls, and how many it takes therefore."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from imagequeue.domain.slot_limit import SlotLimit
from imagequeue.lifecycle.generate.in_flight import InFlight


class Punctuality:
    """The slot limit of one process (`domain/slot_limit.py`). Shared by threads."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = SlotLimit.of(most)
        self._clock = clock
        self._lock = threading.Lock()

    def slots(self) -> int:
        """How many calls the process takes now, as far as it can begin them in time."""
        return self._limit.at(self._clock())

    def began(self, could_at: float, in_flight: InFlight) -> None:
        """Note that a call is begun now, or has missed its start.

        Args:
            could_at: when it could have been begun: the later of its start and of its doorbell, on the clock.
            in_flight: the calls that the process has in hand, this one included.
        """
        now, waiting = self._clock(), in_flight.waiting()
        with self._lock:
            self._limit = self._limit.after_start(now, now - could_at, in_flight.count() - waiting, waiting)
