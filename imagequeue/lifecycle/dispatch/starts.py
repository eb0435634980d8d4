"""The next starts of a quota group, for a plan: those that may be granted now, and those soon after."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from math import inf

from imagequeue.domain.quota import HORIZON, grant
from imagequeue.store.attempts.quota import Group


@dataclass(slots=True)
class UpcomingStarts:
    """Starts in seconds from now, ascending, as the rule of the grant has them.

    `has_more`: the group may have further starts right after the last one that was computed. `is_probing`: it
    is out of quota, and its one start tries it. `last` is when it last started a call, and which of the calls
    in this plan that was: among equal groups the one that was not used for longest goes first.
    """

    seconds: list[float]
    has_more: bool
    is_probing: bool
    last: tuple[float, int]

    @classmethod
    def of(cls, group: Group, most: int, horizon: float) -> UpcomingStarts:
        """Compute up to `most` starts of the next `horizon` seconds."""
        state = group.state
        seconds = [start - state.now for start in grant(group.quota, state, most, horizon)]
        last = -inf if state.last_start is None else state.last_start
        return cls(seconds, len(seconds) == most, state.probing, (last, 0))

    @property
    def are_due(self) -> bool:
        """Whether a start can be granted now."""
        return bool(self.seconds) and self.seconds[0] <= HORIZON

    def first(self, after: float) -> float | None:
        """The first start not before `after` seconds from now."""
        index = bisect_left(self.seconds, after)
        return self.seconds[index] if index < len(self.seconds) else None

    def within(self, seconds: float) -> float:
        """How many starts there are within so many seconds."""
        count = bisect_right(self.seconds, seconds)
        return inf if self.has_more and count == len(self.seconds) else count

    def take(self, start: float, number: int) -> None:
        """Use a start up, for the so many-th call of the plan."""
        del self.seconds[bisect_left(self.seconds, start)]
        self.last = (inf, number)
