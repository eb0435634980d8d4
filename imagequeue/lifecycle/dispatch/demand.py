"""Demand: the jobs that wait in a pool, as far as a plan for the next starts needs to know them.

Queued jobs of a flow are alike, so a count is enough; it ends where more jobs would change no decision. Jobs
that were begun are read one by one, with what they met at their deployments: each may go elsewhere.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import Flow
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.dispatch.backlog import Backlog
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.store.jobs import claims
from imagequeue.store.jobs.claims import PastFailures

MANY = 1_000_000
"""Jobs of a flow that were not counted to the end."""

JOBS_READ = 1_000
"""About so many jobs of each kind are read for a plan, however many flows there are: it takes about 1 ms."""


@dataclass(slots=True, eq=False)
class JobInLine:
    """A job that waits. A queued one has no id yet: the claim takes the oldest of its flow.

    `ends_soon`: every deployment is used up for it, so each may be asked once more (`domain/rounds.py`).
    """

    flow: Flow
    missing_images: int
    id: UUID | None = None
    past: Mapping[str, PastFailures] = field(default_factory=dict[str, PastFailures])
    ends_soon: bool = False

    def may_go_to(self, deployment: Deployment) -> bool:
        """Whether the deployment is not used up for the job."""
        past = self.past.get(deployment.name)
        return past is None or past.count < deployment.max_attempts + self.ends_soon


@dataclass(slots=True)
class Demand:
    """What waits in the flows of a pool: numbers of queued jobs, and the jobs that were begun."""

    eligibility: Eligibility
    flows: Sequence[Flow]
    queued: dict[int, int]
    incomplete: dict[int, deque[JobInLine]]
    closed: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    lanes: frozenset[Lane] = field(init=False)
    queued_images: Counter[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.lanes, self.queued_images = frozenset(flow.lane for flow in self.flows), Counter()
        for flow in self.flows:
            images = self.queued.get(flow.id, 0) * self.eligibility.image_count(flow.requirement)
            self.queued_images[flow.model_id, flow.requirement] += images

    def take(self, flow: Flow) -> JobInLine | None:
        """The next job of a flow: one that was begun first, so that what was begun ends."""
        begun = self.incomplete.get(flow.id)
        if begun:
            return begun.popleft()
        if not self.queued.get(flow.id) or _class_of(flow) in self.closed:
            return None
        images = self.eligibility.image_count(flow.requirement)
        self.queued[flow.id] -= 1
        self.queued_images[flow.model_id, flow.requirement] -= images
        return JobInLine(flow, images)

    def close(self, flow: Flow) -> None:
        """No deployment takes another queued job like those of this flow."""
        self.closed.add(_class_of(flow))

    def images_of_a_call(self, deployment: Deployment) -> int:
        """How many images one call of a deployment brings at most, of those that wait."""
        requirements = {requirement for _, requirement in self.queued_images}
        return max(self.eligibility.images_of_a_job(deployment, one) for one in requirements)

    def exceeds(self, images: float, deployments: Sequence[Deployment], within_seconds: float) -> bool:
        """Whether more images wait that one of these deployments can serve, and begin within some seconds.

        It stops counting there, so a long line costs no more than a short one.
        """
        waiting = sum(
            queued
            for (model_id, requirement), queued in self.queued_images.items()
            if any(self.eligibility.serves(one, model_id, requirement) for one in deployments)
        )
        for job in chain.from_iterable(self.incomplete.values()):
            if waiting > images:
                return True
            if any(self._may_begin(job, one, within_seconds) for one in deployments):
                waiting += job.missing_images
        return waiting > images

    def _may_begin(self, job: JobInLine, deployment: Deployment, within_seconds: float) -> bool:
        if not self.eligibility.serves(deployment, job.flow.model_id, job.flow.requirement):
            return False
        past = job.past.get(deployment.name)
        return job.may_go_to(deployment) and (past is None or past.ends_in <= within_seconds)


@dataclass(frozen=True, slots=True)
class DemandReader:
    """Reads the demand of a pool; `ready` are the deployments that can take a call now."""

    connection: Connection
    backlog: Backlog
    eligibility: Eligibility
    flows: Sequence[Flow]
    ready: Sequence[Deployment]

    def read(self, queued: Collection[int], incomplete: Collection[int], most: int) -> Demand:
        """Read what waits in flows with queued jobs and with jobs that were begun.

        Args:
            queued: the flows with queued jobs.
            incomplete: those with jobs that wait for another attempt.
            most: no more queued jobs of a flow are counted.
        """
        waiting = [flow for flow in self.flows if flow.id in queued]
        begun = [flow for flow in self.flows if flow.id in incomplete]
        return Demand(self.eligibility, self.flows, self._queued(waiting, most), self._incomplete(begun))

    def _queued(self, flows: Sequence[Flow], most: int) -> dict[int, int]:
        if not self._have_a_choice():
            return dict.fromkeys((flow.id for flow in flows), MANY)
        most = max(1, min(most, JOBS_READ // max(1, len(flows))))
        ids = [flow.id for flow in flows]
        counts = claims.count_queued(self.connection, ids, [self.backlog.cursor(id_) for id_ in ids], most)
        return {id_: MANY if count == most else count for id_, count in counts.items()}

    def _have_a_choice(self) -> bool:
        """Whether there is more than one deployment for some flow: only then does it matter what waits."""
        return any(
            len(self.eligibility.deployments(*kind)) > 1 for kind in {_kind_of(one) for one in self.flows}
        )

    def _incomplete(self, flows: Sequence[Flow]) -> dict[int, deque[JobInLine]]:
        able = {flow.id: self._able(flow) for flow in flows}
        able = {id_: count for id_, count in able.items() if count}
        allowed = {one.name: one.max_attempts + 1 for one in self.ready}
        most = max(1, JOBS_READ // max(1, len(able)))
        by_id = {flow.id: flow for flow in flows}
        found = dict[int, deque[JobInLine]]()
        for job in claims.incomplete_jobs(self.connection, able, allowed, most):
            flow = by_id[job.flow_id]
            waiting = JobInLine(flow, job.missing_images, job.id, job.past, self._ends_soon(flow, job.past))
            found.setdefault(job.flow_id, deque()).append(waiting)
        return found

    def _ends_soon(self, flow: Flow, past: Mapping[str, PastFailures]) -> bool:
        able = self.eligibility.deployments(*_kind_of(flow))
        return all(one.name in past and past[one.name].count >= one.max_attempts for one in able)

    def _able(self, flow: Flow) -> int:
        return sum(self.eligibility.serves(one, *_kind_of(flow)) for one in self.ready)


def _kind_of(flow: Flow) -> tuple[str, str]:
    return flow.model_id, flow.requirement


def _class_of(flow: Flow) -> tuple[str, str, str]:
    return flow.model_id, flow.requirement, flow.lane
