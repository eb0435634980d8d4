"""How fast the deployments that can serve a flow start calls, and when the call at some place is done.

The next starts of a quota group are planned by the rule of the grant (`quota`); later ones are assumed to
come at the group's rate. Both are limited by the calls that a deployment takes at a time, and by the worker
slots of the lane. All times are seconds from now, all rates calls per second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from math import ceil, inf

_EXACT = 6
"""Decimals to which a place is rounded, because it is a sum of fractions and never exact."""


@dataclass(frozen=True, slots=True)
class WorkerSlots:
    """Worker slots: the time until each is free, ascending, and the time for which a call occupies one."""

    free_in: Sequence[float]
    occupied_seconds: float

    def free_for(self, place: int) -> float | None:
        """When the call at a place (from 1) gets a slot, if calls take every slot as soon as it is free."""
        if not self.free_in:
            return None
        rounds, at = divmod(place - 1, len(self.free_in))
        return self.free_in[at] + rounds * self.occupied_seconds


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of one quota group: the times of the next ones, ascending, and the rate after those."""

    planned: Sequence[float]
    rate: float

    def within(self, slots: WorkerSlots) -> Starts:
        """The starts when each call also waits for a slot."""
        if not slots.free_in:
            return Starts((), 0.0)
        free, planned = list(slots.free_in), list[float]()
        for start in self.planned:
            planned.append(max(start, free[0]))
            heapreplace(free, planned[-1] + slots.occupied_seconds)
        return Starts(planned, min(self.rate, len(free) / slots.occupied_seconds))


@dataclass(frozen=True, slots=True)
class ServiceRate:
    """How many calls have started by when.

    At `times[i]` it is `counts[i]` calls, and `rates[i]` more a second until `times[i + 1]`. Each needs one
    of `slots`, and takes `latency` seconds.
    """

    times: Sequence[float]
    counts: Sequence[float]
    rates: Sequence[float]
    slots: WorkerSlots
    latency: float

    @classmethod
    def of(cls, starts: Iterable[Starts], slots: WorkerSlots, latency: float) -> ServiceRate:
        """The service rate of some quota groups together, within the slots of a lane.

        Groups that can start nothing now must be left out, because it is unknown when they will.
        """
        steps = sorted(
            (at, one.rate if number == len(one.planned) else 0.0)
            for one in starts
            for number, at in enumerate(one.planned, 1)
        )
        times, counts, rates = [0.0], [0.0], [0.0]
        for at, rate in steps:
            counts.append(counts[-1] + rates[-1] * (at - times[-1]) + 1)
            times.append(at)
            rates.append(rates[-1] + rate)
        return cls(times, counts, rates, slots, latency)

    def done_in(self, place: float) -> float | None:
        """Seconds until the call at this place (from 1) is answered; None when no group or slot serves it."""
        exact = round(place, _EXACT)
        quota, slot = self._allowed_in(exact), self.slots.free_for(ceil(exact))
        return None if quota is None or slot is None else max(quota, slot) + self.latency

    def _allowed_in(self, place: float) -> float | None:
        following = bisect_left(self.counts, place)
        reached = self.times[following] if following < len(self.times) else inf
        if self.rates[following - 1] > 0:
            seconds = (place - self.counts[following - 1]) / self.rates[following - 1]
            reached = min(reached, self.times[following - 1] + seconds)
        return None if reached == inf else reached
