"""In flight: the attempts that a process is working on.

A heartbeat says that a process lives, not that each of its threads does: an attempt whose thread ended by a
fault of ours would stay CALLING for as long as its process lives. So every heartbeat renews, in its own
transaction, the deadlines of the attempts in flight and of no others. An attempt is orphaned when its process
is dead, or has sent a heartbeat after the attempt's deadline without renewing it (docs/design/pipeline.md,
"Sweep"). During an outage of the database neither moves, so an outage orphans nothing.

It also makes this process drop the second of two doorbells for one attempt.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID


class InFlight:
    """The attempts in flight of one process. Shared by threads."""

    def __init__(self) -> None:
        self._held: set[UUID] = set()
        self._waiting: set[UUID] = set()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, attempt_id: UUID) -> Generator[bool]:
        """Work on an attempt while the context is open; False: another thread works on it already."""
        with self._lock:
            ours = attempt_id not in self._held
            self._held.add(attempt_id)
        try:
            yield ours
        finally:
            if ours:
                with self._lock:
                    self._held.discard(attempt_id)
                    self._waiting.discard(attempt_id)

    def sent(self, attempt_id: UUID) -> None:
        """Note that its upstream has the request: until the answer is there its thread does nothing."""
        with self._lock:
            self._waiting.add(attempt_id)

    def answered(self, attempt_id: UUID) -> None:
        """Note that the answer is there, or will not come."""
        with self._lock:
            self._waiting.discard(attempt_id)

    def count(self) -> int:
        """How many attempts are in flight now."""
        return len(self._held)

    def waiting(self) -> int:
        """How many of them wait for their upstreams."""
        return len(self._waiting)

    def held(self) -> list[UUID]:
        """The attempts that are in flight now."""
        with self._lock:
            return sorted(self._held)
