"""How the deployments that can serve a flow start calls, and when a call at some place is done.

What a quota group may start is planned with the rule that grants (`quota`), as far ahead as pays; then it
goes on at its rate. Two things hold it back: a deployment takes only so many calls at a time, and a lane has
only so many slots. All times are seconds from now, all rates calls per second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from math import ceil, inf

_EXACT = 6
"""Digits of a place that count: places are sums of fractions."""


@dataclass(frozen=True, slots=True)
class WorkerSlots:
    """Slots for calls: the time until each is free, ascending, and how long a call keeps one."""

    free_in: Sequence[float]
    kept: float

    def free_for(self, place: int) -> float | None:
        """When the call at a place (from 1) has a slot, if calls take every slot as soon as it is free."""
        if not self.free_in:
            return None
        rounds, at = divmod(place - 1, len(self.free_in))
        return self.free_in[at] + rounds * self.kept


@dataclass(frozen=True, slots=True)
class Starts:
    """Of one quota group: when it can start each of the next calls, ascending, and its rate after that."""

    planned: Sequence[float]
    rate: float

    def within(self, slots: WorkerSlots) -> Starts:
        """The same, where each call also waits for a slot."""
        if not slots.free_in:
            return Starts((), 0.0)
        free, planned = list(slots.free_in), list[float]()
        for start in self.planned:
            planned.append(max(start, free[0]))
            heapreplace(free, planned[-1] + slots.kept)
        return Starts(planned, min(self.rate, len(free) / slots.kept))


@dataclass(frozen=True, slots=True)
class ServiceRate:
    """By `times` so many calls (`counts`) have started, and until the next of them they start at `rates`."""

    times: Sequence[float]
    counts: Sequence[float]
    rates: Sequence[float]
    slots: WorkerSlots
    latency: float

    @classmethod
    def of(cls, starts: Iterable[Starts], slots: WorkerSlots, latency: float) -> ServiceRate:
        """Of some groups together, within a lane's slots; `latency` is what a call takes.

        Groups that can start nothing for now must not be among them: nobody knows when they will.
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
        """Until the call at this place (from 1) has been answered; None: nobody serves it."""
        exact = round(place, _EXACT)
        quota, slot = self._allowed_in(exact), self.slots.free_for(ceil(exact))
        return None if quota is None or slot is None else max(quota, slot) + self.latency

    def _allowed_in(self, place: float) -> float | None:
        behind = bisect_left(self.counts, place)
        reached = self.times[behind] if behind < len(self.times) else inf
        if self.rates[behind - 1] > 0:
            begun = (place - self.counts[behind - 1]) / self.rates[behind - 1]
            reached = min(reached, self.times[behind - 1] + begun)
        return None if reached == inf else reached
