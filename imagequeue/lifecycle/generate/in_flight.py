"""Custody: the attempts that this process has in hand.

A heartbeat vouches for a process, not for what its threads do: an attempt whose thread ended without a word
(a bug, no memory) would stay CALLING for as long as its process lives. So each beat puts off the deadlines of
the attempts in hand, in its own transaction, and of no others. An attempt whose deadline is older than its
process's last beat is in nobody's hands (docs/design/pipeline.md, "Sweep"). During an outage of the database
neither moves, so an outage makes nothing look abandoned.

It also drops the second doorbell of a pair that this process got at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID


class InFlight:
    """The attempts in hand of one process. Shared by threads."""

    def __init__(self) -> None:
        self._held: set[UUID] = set()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, attempt_id: UUID) -> Generator[bool]:
        """Have an attempt in hand while the context is open; False: another thread has it already."""
        with self._lock:
            ours = attempt_id not in self._held
            self._held.add(attempt_id)
        try:
            yield ours
        finally:
            if ours:
                with self._lock:
                    self._held.discard(attempt_id)

    def held(self) -> list[UUID]:
        """What is in hand now."""
        with self._lock:
            return sorted(self._held)
