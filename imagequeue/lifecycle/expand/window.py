"""The window: how many jobs of each flow of a batch are to wait for a call.

As many as the deployments that can serve the class of the flow start in a minute at their present rates. The
flows of one class share that by the weights of their batches, so a hundred batches have one window together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.images import Requirement
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.store.attempts import deployments, quota
from imagequeue.store.attempts.quota import Group
from imagequeue.store.batches.expansion import ExpandableFlow

WINDOW_SECONDS = 60.0
"""Long enough that no deployment waits for the expander, which looks every second; short enough that a pause,
a price or a budget that changes soon counts for nearly all lines."""

MOST_WAITING = 2_000
"""Jobs of a flow that wait at most, however fast its deployments are: claims read them."""


@cache
def fetched(requirement: str) -> str:
    """The requirement as it is when the input images are fetched: which deployments can serve it then."""
    return str(replace(Requirement.parse(requirement), unfetched=False))


@dataclass(frozen=True, slots=True)
class Rates:
    """How many calls the quota groups start, read once for a pass."""

    eligibility: Eligibility
    groups: Mapping[str, Group]
    limits: ConcurrencyLimits

    @classmethod
    def read(cls, connection: Connection, eligibility: Eligibility) -> Rates:
        """Read the groups and the breakers."""
        limits = ConcurrencyLimits()
        limits.set_states(deployments.read_states(connection))
        return cls(eligibility, quota.read_groups(connection, list(eligibility.pools), 1), limits)

    def jobs_in_window(self, model_id: str, requirement: str) -> float:
        """How many jobs of a class can start in `WINDOW_SECONDS`; 0 while every deployment is kept out."""
        return sum(self._jobs(group, found) for group, found in self._groups(model_id, requirement).items())

    def _groups(self, model_id: str, requirement: str) -> dict[str, int]:
        """For each quota group that works, how many calls of it a job takes."""
        images, needed = self.eligibility.image_count(requirement), dict[str, int]()
        for one in self.eligibility.deployments(model_id, requirement):
            if self.limits.breaker(one) is not Breaker.OPEN:
                calls = ceil(images / self.eligibility.images_per_call(one, requirement))
                needed[one.group] = min(calls, needed.get(one.group, calls))
        return needed

    def _jobs(self, name: str, calls_of_a_job: int) -> float:
        group = self.groups.get(name)
        if group is None or group.out_of_quota:
            return 0.0
        return group.quota.rate * WINDOW_SECONDS / calls_of_a_job


def windows(flows: Sequence[ExpandableFlow], rates: Rates) -> dict[int, int]:
    """How many jobs of each flow are to wait: at least one, because a half-open breaker needs a probe."""
    weights = Counter[tuple[str, str]]()
    for flow in flows:
        weights[_class_of(flow)] += flow.weight
    found = dict[int, int]()
    for flow in flows:
        share = rates.jobs_in_window(*_class_of(flow)) * flow.weight / weights[_class_of(flow)]
        found[flow.id] = max(1, min(MOST_WAITING, ceil(share)))
    return found


def _class_of(flow: ExpandableFlow) -> tuple[str, str]:
    return flow.model_id, fetched(flow.requirement)
