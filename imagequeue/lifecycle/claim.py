"""Claim: which jobs take the tokens that a quota group has free.

Flows take turns (`domain/fairness.py`). A job that wants several images takes several tokens in its turn, and
so may have attempts on several deployments at once. A flow that runs dry leaves its turns to the others.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue, Flow
from imagequeue.lifecycle.backlog import Backlog, Waiting
from imagequeue.lifecycle.room import Room
from imagequeue.lifecycle.serving import Serving
from imagequeue.store.claims import Turn, WaitingJob, lock_queued, lock_wanting


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


def find_candidates(
    deployments: Sequence[Deployment], waiting: Waiting, serving: Serving, room: Room
) -> dict[int, Candidate]:
    """The waiting flows that a group can serve now, each with the first deployment that has room."""
    found = dict[int, Candidate]()
    for flow in waiting.flows:
        for deployment in deployments:
            if serving.serves(deployment, flow.model_id, flow.requirement) and room.left(
                flow.lane, deployment
            ):
                per_call = serving.images_per_call(deployment, flow.requirement)
                found[flow.id] = Candidate(flow, deployment, per_call)
                break
    return found


@dataclass(slots=True)
class Claim:
    """The claim of one transaction."""

    connection: Connection
    backlog: Backlog
    waiting: Waiting
    room: Room
    queue: FairQueue

    def take(self, candidates: Mapping[int, Candidate], tokens: int) -> list[ClaimedCall]:
        """Lock jobs for up to `tokens` calls."""
        left = dict(candidates)
        calls, locked = list[ClaimedCall](), set[UUID]()
        while left and len(calls) < tokens:
            flows = [candidate.flow for candidate in left.values()]
            planned = self.queue.order(flows, tokens - len(calls))
            jobs = self._lock(Counter(flow.id for flow in planned), left, locked)
            for flow in planned:
                if not jobs[flow.id]:
                    left.pop(flow.id, None)
                elif len(calls) < tokens:
                    new = list(self._calls(jobs[flow.id].popleft(), candidates[flow.id], tokens - len(calls)))
                    self.queue.took(flow, flows, len(new))
                    calls += new
        return calls

    def _lock(
        self, turns_by_flow: Mapping[int, int], candidates: Mapping[int, Candidate], locked: set[UUID]
    ) -> dict[int, deque[WaitingJob]]:
        """Lock a job for each turn, those that want another attempt first."""
        turns = [
            Turn(flow_id, count, self.backlog.cursor(flow_id), candidates[flow_id].deployment.name)
            for flow_id, count in turns_by_flow.items()
        ]
        found = {flow_id: deque[WaitingJob]() for flow_id in turns_by_flow}
        wanting = lock_wanting(
            self.connection, [turn for turn in turns if turn.flow_id in self.waiting.wanting]
        )
        queued = lock_queued(self.connection, [turn for turn in turns if turn.flow_id in self.waiting.queued])
        for job in (*wanting, *queued):
            if job.id not in locked:
                locked.add(job.id)
                found[job.flow_id].append(job)
        return found

    def _calls(self, job: WaitingJob, candidate: Candidate, most: int) -> Iterator[ClaimedCall]:
        """The calls of a job, as far as tokens and slots go; each asks for what one call may."""
        starts = range(0, job.wanted, candidate.images_per_call)
        for done in starts[:most]:
            if not self.room.take(candidate.flow.lane, candidate.deployment):
                return
            yield ClaimedCall(job, candidate, min(candidate.images_per_call, job.wanted - done))
