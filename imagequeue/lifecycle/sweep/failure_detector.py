"""Failure detector: decides which processes are dead (docs/design/pipeline.md, "Sweep").

The age of a heartbeat says nothing: after an outage of the database, or after this process stood still,
every heartbeat looks old. So a process is dead when this observer has seen its counter unchanged in at least
four successful reads over at least 20 s of its own monotonic clock. A read that fails, or that comes much
too late, restarts every observation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

READS = 4
"""Reads in a row in which the counter did not move."""

SECONDS = 20.0
"""Seconds over which these reads lie: ten intervals of a heartbeat."""

LONGEST_GAP = 15.0
"""Seconds between two reads beyond which the observer itself may have stood still."""


@dataclass(slots=True)
class Observation:
    """A counter that has not moved since `since` (seconds, monotonic), in so many reads."""

    beat: int
    since: float
    reads: int = 1


@dataclass(slots=True)
class FailureDetector:
    """The observations of one dispatcher. `clock` gives monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    observations: dict[UUID, Observation] = field(default_factory=dict[UUID, Observation])
    last_read: float = float("-inf")

    def restart(self) -> None:
        """Forget every observation, because a read has failed."""
        self.observations.clear()

    def observe(self, beats: Mapping[UUID, int]) -> set[UUID]:
        """Take in a successful read of all counters; returns the processes that are dead."""
        now = self.clock()
        if now - self.last_read > LONGEST_GAP:
            self.restart()
        self.last_read = now
        self.observations = {id_: self._sight(id_, beat, now) for id_, beat in beats.items()}
        return {id_ for id_, seen in self.observations.items() if _is_dead(seen, now)}

    def _sight(self, id_: UUID, beat: int, now: float) -> Observation:
        seen = self.observations.get(id_)
        if seen is None or seen.beat != beat:
            return Observation(beat, now)
        return Observation(beat, seen.since, seen.reads + 1)


def _is_dead(seen: Observation, now: float) -> bool:
    return seen.reads >= READS and now - seen.since >= SECONDS
