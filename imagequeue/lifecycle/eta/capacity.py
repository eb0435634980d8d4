"""Capacity: how fast the deployments can start calls from now on, by the dispatcher's own rules.

Everything is read once for a forecast: the groups with their tokens, the worker slots, the calls in flight,
and how long the last calls took. A deployment whose breaker is not closed, or whose quota is used up, counts
for nothing; a group that is paused counts from the end of its pause.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from statistics import fmean

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.fairness import Flow
from imagequeue.domain.jobs import AttemptState, Lane
from imagequeue.domain.quota import grant
from imagequeue.domain.service_rate import ServiceRate, Starts, WorkerSlots
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.store.attempts import durations, quota
from imagequeue.store.attempts.durations import CallInFlight, CallTime
from imagequeue.store.attempts.quota import Group

PLANNED_STARTS = 200
"""Starts of each group that are planned one by one; after them calls start at the group's rate."""

CALLS_REMEMBERED = 100
"""The last calls of a deployment whose mean is what a call takes."""

FIRST_GUESS = 2.0
"""Seconds that a call takes where none has ended yet: wrong by 2 at most for calls of up to 4."""

TURNOVER = 0.125
"""Seconds until a free worker slot has its next call: half of the dispatcher's interval.

Source: docs/design/pipeline.md, "Dispatch".
"""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was read, and what follows from it.

    `planned` has the next starts of each group, in seconds from now; `times` has what a call of each
    deployment takes, measured or guessed.
    """

    eligibility: Eligibility
    groups: Mapping[str, Group]
    planned: Mapping[str, Sequence[float]]
    limits: ConcurrencyLimits
    times: Mapping[str, CallTime]
    in_flight: Mapping[str, Sequence[CallInFlight]]
    by_lane: Mapping[Lane, Sequence[CallInFlight]]
    _known: dict[tuple[str, str], list[Deployment]] = field(
        default_factory=dict[tuple[str, str], list[Deployment]]
    )

    @classmethod
    def read(cls, connection: Connection, eligibility: Eligibility) -> Capacity:
        """Read all of it."""
        in_flight = defaultdict[str, list[CallInFlight]](list)
        by_lane = defaultdict[Lane, list[CallInFlight]](list)
        for call in durations.calls_in_flight(connection):
            in_flight[call.deployment].append(call)
            by_lane[call.lane].append(call)
        groups = quota.read_groups(connection, list(eligibility.catalog.quota_groups), PLANNED_STARTS)
        times = durations.call_times(connection, CALLS_REMEMBERED)
        guessed = {name: _guess(name, eligibility.catalog, times, some) for name, some in in_flight.items()}
        missing = {
            one.name: _guess(one.name, eligibility.catalog, times) for one in eligibility.catalog.deployments
        }
        return cls(
            eligibility=eligibility,
            groups=groups,
            planned={name: _planned(group) for name, group in groups.items() if not group.out_of_quota},
            limits=ConcurrencyLimits.read(connection),
            times={**missing, **guessed, **times},
            in_flight=in_flight,
            by_lane=by_lane,
        )

    def deployments(self, model_id: str, requirement: str) -> Sequence[Deployment]:
        """The deployments that can serve a class and take calls now; if none does, all that can serve it."""
        key = (model_id, requirement)
        if key not in self._known:
            able = list(self.eligibility.deployments(model_id, requirement))
            self._known[key] = [one for one in able if self._works(one)] or able
        return self._known[key]

    def calls_of(self, flow: Flow, images: int) -> float:
        """How many calls a job of `images` images takes, on average over the deployments that serve its flow.

        A deployment that starts r calls per second, of which a job takes n, serves r / n jobs per second.
        """
        shares = [
            (self._rate(one), ceil(images / self.eligibility.images_per_call(one, flow.requirement)))
            for one in self.deployments(flow.model_id, flow.requirement)
        ]
        jobs = sum(rate / needed for rate, needed in shares)
        return sum(rate for rate, _ in shares) / jobs if jobs else float(images)

    def service(self, model_id: str, requirement: str, lane: Lane) -> ServiceRate:
        """How fast the deployments that can serve a class start its calls; those that take none count 0."""
        by_group = defaultdict[str, list[Deployment]](list)
        for one in self.deployments(model_id, requirement):
            if self._works(one):
                by_group[one.group].append(one)
        starts = [self._starts(members, lane) for members in by_group.values()]
        total = sum(one.rate for one in starts)
        if total == 0:
            return ServiceRate.of((), WorkerSlots((), FIRST_GUESS), FIRST_GUESS)
        shares = [
            (one.rate / total, self._mean(members))
            for one, members in zip(starts, by_group.values(), strict=True)
        ]
        latency = sum(share * known.latency_seconds for share, known in shares)
        kept = sum(share * known.slot_seconds for share, known in shares)
        slots = self._slots(self.limits.slots.get(lane, 0), self.by_lane.get(lane, ()), kept)
        return ServiceRate.of(starts, slots, latency)

    def _works(self, deployment: Deployment) -> bool:
        return self.limits.breaker(deployment) is Breaker.CLOSED and deployment.group in self.planned

    def _rate(self, deployment: Deployment) -> float:
        group = self.groups.get(deployment.group)
        return group.quota.rate if group else 1.0

    def _starts(self, members: Sequence[Deployment], lane: Lane) -> Starts:
        """The starts of a group, limited by its quota and by what its deployments may have in flight."""
        group = self.groups[members[0].group]
        limit = sum(self.limits.limit(lane, one) for one in members)
        in_flight = [
            call
            for one in members
            for call in self.in_flight.get(one.name, ())
            if one.max_in_flight or call.lane is lane  # as `ConcurrencyLimits` counts them
        ]
        slots = self._slots(
            min(limit, self.limits.slots.get(lane, 0)), in_flight, self._mean(members).slot_seconds
        )
        return Starts(self.planned[group.name], group.quota.rate).within(slots)

    def _slots(self, count: int, in_flight: Sequence[CallInFlight], kept: float) -> WorkerSlots:
        """So many worker slots, some of which are free only when their calls in flight end."""
        left = [
            max(0.0, self.times[call.deployment].slot_seconds - call.age_seconds)
            for call in in_flight
            if call.state is not AttemptState.SLEEPING
        ]
        # Where more calls are in flight than the limit allows now, the first ones to end free no slot.
        free_in = sorted([0.0] * count + left)[-count:] if count else []
        return WorkerSlots(free_in, kept + TURNOVER)

    def _mean(self, members: Sequence[Deployment]) -> CallTime:
        known = [self.times[one.name] for one in members]
        return CallTime(fmean(one.latency_seconds for one in known), fmean(one.slot_seconds for one in known))


def _guess(
    name: str, catalog: Catalog, times: Mapping[str, CallTime], in_flight: Iterable[CallInFlight] = ()
) -> CallTime:
    """What a deployment's calls take before any has ended: the mean of its model's others, or a guess.

    A call in flight that has run longer than that raises the guess.
    """
    deployment = catalog.deployment(name)
    others = catalog.deployments_of(deployment.model) if deployment else ()
    known = [times[one.name].latency_seconds for one in others if one.name in times]
    ages = [call.age_seconds for call in in_flight if call.state is not AttemptState.RELEASED]
    guess = max([fmean(known) if known else FIRST_GUESS, *ages])
    return CallTime(guess, guess)


def _planned(group: Group) -> list[float]:
    """The next starts of a group, in seconds from now.

    Each token is used once by the rule of the grant. From then on it returns a cycle later, without the slack
    that a grant adds while it is not known when the call was sent.
    """
    rule, state = group.quota, group.state
    planned = [at - state.now for at in grant(rule, state, min(rule.rpm, PLANNED_STARTS), horizon=inf)]
    while len(planned) < PLANNED_STARTS:
        planned.append(planned[-rule.rpm] + rule.cycle)
    return planned
