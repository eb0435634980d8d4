"""Claim: which jobs take the tokens that a quota group has free.

The fair queue (`domain/fairness.py`) decides whose flow is next. A job with several missing images takes
several tokens at once, so it may have attempts on several deployments. A flow without further jobs leaves
its turns to the others.

A job that a deployment failed prefers another one (docs/design/pipeline.md, "An attempt"): only one that
can take it soon, and only for some seconds beyond its back-off. Then any deployment may take it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue, Flow
from imagequeue.domain.jobs import Lane
from imagequeue.domain.quota import next_start
from imagequeue.lifecycle.dispatch.backlog import Backlog
from imagequeue.lifecycle.dispatch.dispatch_pass import Pass
from imagequeue.store.jobs.claims import ClaimRequest, WaitingJob, lock_incomplete, lock_queued

OTHER_DEPLOYMENT_SECONDS = 5.0
"""Seconds beyond its back-off that a job waits for another deployment than the one that failed it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A flow, and the deployment of the group that would serve it."""

    flow: Flow
    deployment: Deployment
    images_per_call: int


@dataclass(frozen=True, slots=True)
class ClaimedCall:
    """One call for a job whose row is locked."""

    job: WaitingJob
    candidate: Candidate
    image_count: int


def find_candidates(deployments: Sequence[Deployment], known: Pass) -> dict[int, Candidate]:
    """The waiting flows that a group can serve now, each with its first deployment that may start a call."""
    found = dict[int, Candidate]()
    for (model_id, requirement, lane), flows in known.waiting.classes.items():
        deployment = next(
            (
                one
                for one in deployments
                if known.eligibility.serves(one, model_id, requirement) and known.limits.left(lane, one) > 0
            ),
            None,
        )
        if deployment is not None:
            per_call = known.eligibility.images_per_call(deployment, requirement)
            found |= {flow.id: Candidate(flow, deployment, per_call) for flow in flows}
    return found


@dataclass(slots=True)
class Claim:
    """The claim of one transaction; `locked` are the jobs that it holds, with their flows."""

    connection: Connection
    known: Pass
    backlog: Backlog
    queue: FairQueue
    locked: dict[UUID, int] = field(default_factory=dict[UUID, int])

    def take(self, candidates: Mapping[int, Candidate], tokens: int) -> list[ClaimedCall]:
        """Lock jobs for up to `tokens` calls."""
        left, calls = dict(candidates), list[ClaimedCall]()
        while left and len(calls) < tokens:
            flows = [candidate.flow for candidate in left.values()]
            backfill_waits = any(flow.lane is Lane.BACKFILL for flow in flows)
            planned = self.queue.order(flows, tokens - len(calls))
            jobs = self._lock(Counter(flow.id for flow in planned), left)
            for flow in planned:
                new = self._calls(jobs[flow.id], candidates[flow.id], tokens - len(calls))
                if new:
                    self.queue.took(flow, len(new), backfill_waits=backfill_waits)
                    calls += new
                else:
                    left.pop(flow.id, None)
        return calls

    def _lock(
        self, turns_by_flow: Mapping[int, int], candidates: Mapping[int, Candidate]
    ) -> dict[int, deque[WaitingJob]]:
        """Lock a job for each turn; those that this claim holds already come again and do not count."""
        held = Counter(self.locked.values())
        turns = [self._turn(candidates[id_], count + held[id_]) for id_, count in turns_by_flow.items()]
        found = {flow_id: deque[WaitingJob]() for flow_id in turns_by_flow}
        for job in self._jobs(turns):
            if job.id not in self.locked and len(found[job.flow_id]) < turns_by_flow[job.flow_id]:
                self.locked[job.id] = job.flow_id
                found[job.flow_id].append(job)
        return found

    def _jobs(self, turns: Sequence[ClaimRequest]) -> list[WaitingJob]:
        """Incomplete jobs first, so that what was begun ends; last if the deployment failed recently."""
        incomplete = [turn for turn in turns if turn.flow_id in self.known.waiting.incomplete]
        queued = [turn for turn in turns if turn.flow_id in self.known.waiting.queued]
        return [
            *lock_incomplete(self.connection, [turn for turn in incomplete if not turn.recently_failed]),
            *lock_queued(self.connection, queued),
            *lock_incomplete(self.connection, [turn for turn in incomplete if turn.recently_failed]),
        ]

    def _turn(self, candidate: Candidate, limit: int) -> ClaimRequest:
        deployment, flow = candidate.deployment, candidate.flow
        state = self.known.limits.states.get(deployment.name)
        return ClaimRequest(
            flow_id=flow.id,
            limit=limit,
            cursor=self.backlog.cursor(flow.id),
            deployment=deployment.name,
            recently_failed=state is not None and state.failures > 0,
            patience_seconds=OTHER_DEPLOYMENT_SECONDS if self._has_others(deployment, flow) else 0.0,
        )

    def _has_others(self, deployment: Deployment, flow: Flow) -> bool:
        """Whether a job that this deployment failed may as well wait for another one."""
        return any(
            other.order <= deployment.order and self._starts_soon(other, flow.lane)
            for other in self.known.eligibility.deployments(flow.model_id, flow.requirement)
            if other.name != deployment.name
        )

    def _starts_soon(self, deployment: Deployment, lane: Lane) -> bool:
        """Whether a deployment works, may start a call, and has a token within `OTHER_DEPLOYMENT_SECONDS`."""
        group = self.known.groups.get(deployment.group)
        if group is None or group.out_of_quota or self.known.limits.breaker(deployment) is not Breaker.CLOSED:
            return False
        soon = next_start(group.quota, group.state) <= group.state.now + OTHER_DEPLOYMENT_SECONDS
        return soon and self.known.limits.left(lane, deployment) > 0

    def _calls(self, jobs: deque[WaitingJob], candidate: Candidate, most: int) -> list[ClaimedCall]:
        """The calls of the flow's next job, as far as tokens and slots go; each asks for what it may."""
        if not jobs or most <= 0:
            return []
        job = jobs.popleft()
        starts = range(0, job.missing_images, candidate.images_per_call)[:most]
        return [
            ClaimedCall(job, candidate, min(candidate.images_per_call, job.missing_images - done))
            for done in starts
            if self.known.limits.take(candidate.flow.lane, candidate.deployment)
        ]
