"""A state that a plan is made from, in plain values."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue, Flow
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.demand import Demand, JobInLine
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.dispatch.plan import DispatchPlan, PlannedCall
from imagequeue.lifecycle.dispatch.starts import UpcomingStarts
from imagequeue.store.attempts.deployments import DeploymentState
from imagequeue.store.jobs.claims import PastFailures
from tests.builders import MODEL
from tests.lifecycle.dispatch.virtual_upstreams import REQUIREMENT, catalog


@dataclass
class State:
    """What a plan is made from. Starts and back-offs are in seconds from now."""

    deployments: dict[str, dict[str, Any]]
    starts: dict[str, list[float]]
    queued: dict[Flow, int] = field(default_factory=dict[Flow, int])
    begun: list[JobInLine] = field(default_factory=list[JobInLine])
    slots: int = 64
    breakers: dict[str, DeploymentState] = field(default_factory=dict[str, DeploymentState])
    last: dict[str, float] = field(default_factory=dict[str, float])
    kept_out: dict[str, UUID] = field(default_factory=dict[str, UUID])

    def __post_init__(self) -> None:
        self.eligibility = Eligibility(catalog(self.deployments))

    def plan(self) -> list[PlannedCall]:
        """What starts now."""
        self.left = ConcurrencyLimits(
            slots=dict.fromkeys(Lane, self.slots),
            in_all=self.slots,
            states=self.breakers,
            kept_out=self.kept_out,
        )
        self.unused = {
            name: UpcomingStarts(
                sorted(self.starts.get(name, [])),
                has_more=False,
                is_probing=False,
                last=(self.last.get(name, 0.0), 0),
            )
            for name in self.deployments
        }
        flows = list({flow.id: flow for flow in (*self.queued, *(job.flow for job in self.begun))}.values())
        begun = dict[int, deque[JobInLine]]()
        for job in self.begun:
            begun.setdefault(job.flow.id, deque()).append(job)
        queued = {flow.id: count for flow, count in self.queued.items()}
        self.demand = Demand(self.eligibility, flows, queued, begun)
        turns = FairQueue().plan(flows)
        self.calls = DispatchPlan(self.eligibility, self.left, self.unused, self.demand, turns).make()
        return self.calls

    def served(self) -> dict[str, int]:
        """Calls by deployment."""
        return Counter(call.deployment.name for call in self.plan())

    def deployment(self, name: str) -> Deployment:
        """An entry of the catalog."""
        found = self.eligibility.catalog.deployment(name)
        assert found is not None
        return found


def flow(number: int = 1, lane: Lane = Lane.INTERACTIVE, requirement: str = REQUIREMENT) -> Flow:
    return Flow(number, MODEL, requirement, UUID(int=number), lane)


def begun(number: int = 1, images: int = 1, **past: tuple[int, float]) -> JobInLine:
    """A job that deployments failed: how often, and in how many seconds its back-off ends there."""
    met = {name: PastFailures(*one) for name, one in past.items()}
    return JobInLine(flow(number), images, UUID(int=1000 + number), met)
