"""Claim: lock the jobs of the calls that a plan has for a quota group, under the lock of its row.

A plan is made before the lock is held, so a job may be gone, or another dispatcher may hold it. A call whose
job is not to be had is left out, and the pass asks again for what is left.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue, Flow
from imagequeue.lifecycle.dispatch.backlog import Backlog
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.demand import JobInLine
from imagequeue.lifecycle.dispatch.plan import PlannedCall
from imagequeue.store.jobs.claims import (
    ClaimRequest,
    RetryRequest,
    WaitingJob,
    lock_incomplete,
    lock_queued,
)


@dataclass(frozen=True, slots=True)
class ClaimedCall:
    """One call for a job whose row is locked."""

    job: WaitingJob
    flow: Flow
    deployment: Deployment
    image_count: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of one transaction."""

    connection: Connection
    backlog: Backlog
    limits: ConcurrencyLimits
    queue: FairQueue
    backfill_waits: bool

    def take(self, planned: Sequence[PlannedCall], most: int) -> list[ClaimedCall]:
        """Lock the jobs of planned calls, and charge their flows for up to `most` calls."""
        begun, left, calls = self._lock_begun(planned), Counter[UUID](), list[ClaimedCall]()
        self._lock_queued(planned, begun)
        for one in planned:
            job = begun.get((one.job.id, one.deployment.name)) if one.job.id else None
            if job is None or len(calls) == most:
                continue
            left.setdefault(job.id, job.missing_images)
            images = min(one.image_count, left[job.id])
            if images > 0 and self.limits.take(one.job.flow.lane, one.deployment):
                left[job.id] -= images
                calls.append(ClaimedCall(job, one.job.flow, one.deployment, images))
                self.queue.took(one.job.flow, backfill_waits=self.backfill_waits)
        return calls

    def _lock_begun(self, planned: Sequence[PlannedCall]) -> dict[tuple[UUID, str], WaitingJob]:
        """Those that wait for another attempt, by job and deployment."""
        requests = {
            RetryRequest(one.job.id, one.deployment.name, one.deployment.max_attempts + one.job.ends_soon)
            for one in planned
            if one.job.id is not None
        }
        return lock_incomplete(self.connection, sorted(requests, key=lambda one: one.job_id))

    def _lock_queued(self, planned: Sequence[PlannedCall], found: dict[tuple[UUID, str], WaitingJob]) -> None:
        """The oldest of each flow take the places of those that the plan knows without their ids."""
        nameless = dict[JobInLine, set[str]]()
        for one in planned:
            if one.job.id is None:
                nameless.setdefault(one.job, set()).add(one.deployment.name)
        oldest = self._oldest(Counter(job.flow.id for job in nameless))
        for job, deployments in nameless.items():
            if oldest[job.flow.id]:
                locked = oldest[job.flow.id].popleft()
                job.id = locked.id
                found |= {(locked.id, name): locked for name in deployments}

    def _oldest(self, jobs_by_flow: Counter[int]) -> dict[int, deque[WaitingJob]]:
        requests = [
            ClaimRequest(flow_id, count, self.backlog.cursor(flow_id))
            for flow_id, count in jobs_by_flow.items()
        ]
        found = {flow_id: deque[WaitingJob]() for flow_id in jobs_by_flow}
        for job in lock_queued(self.connection, requests):
            found[job.flow_id].append(job)
        return found
