"""Slot limit: how many calls a worker process takes, by how punctually it begins them.

The threads of a process share one interpreter. Where more calls want it than it can serve, their starts come
late, and one that misses its start window is given back: a read and a settling transaction for nothing. So a
late start lowers the limit to a share of the calls that want it (multiplicative decrease), and time raises it
again (additive increase). A call that waits for its upstream wants no interpreter, so it keeps its slot.

Times are seconds of one clock, which the caller chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from imagequeue.domain.quota import LEASE_SLACK

LATE_SECONDS = LEASE_SLACK / 2
"""A start that comes so much later than it could is late: half of what its window allows, so that the limit
falls before calls are given back."""

KEPT_SHARE = 0.25
"""Of the calls that want the interpreter, after a late start. A few of them keep it busy, so a share that is
too small costs nothing, and one that is too large costs the work for more calls that miss their start."""

LEAST_SHARE, LEAST_SLOTS = 0.125, 8
"""Of all slots, the larger of both, which are always offered: so few calls cannot keep each other from the
interpreter for a second, so the reason is another one, such as a database that is slow for all."""

REACTION_SECONDS = 4.0
"""After a decrease, in which late starts cause no other one: those calls were released before it, because a
heartbeat (every 2 s) has to tell it, and a call that is told too late has been waiting for a second."""

RECOVERY_SECONDS = 60.0
"""In which the limit would rise from nothing to all slots."""


@dataclass(frozen=True, slots=True)
class SlotLimit:
    """The limit of one process: `slots` at the moment `cut_at`, and more since then, up to `most`."""

    most: int
    slots: float
    cut_at: float

    @classmethod
    def of(cls, most: int) -> SlotLimit:
        """The limit of a process that has begun no call late: all of its slots."""
        return cls(most, most, -inf)

    def at(self, now: float) -> int:
        """How many calls the process takes at this moment."""
        risen = self.slots + self.most * (now - self.cut_at) / RECOVERY_SECONDS
        return int(min(self.most, risen))

    def after_start(self, now: float, late_seconds: float, busy: int, waiting: int) -> SlotLimit:
        """The limit after a call was begun, or given back because its start was missed.

        Args:
            now: the moment.
            late_seconds: how much later it was begun than it could have been, had the process had nothing
                else to do.
            busy: how many calls the process works on, this one included.
            waiting: how many more wait for the answers of their upstreams.
        """
        if late_seconds <= LATE_SECONDS or now - self.cut_at < REACTION_SECONDS:
            return self
        least = min(self.most, max(LEAST_SLOTS, self.most * LEAST_SHARE))
        kept = min(self.at(now), waiting + KEPT_SHARE * busy)
        return replace(self, slots=max(least, kept), cut_at=now)
