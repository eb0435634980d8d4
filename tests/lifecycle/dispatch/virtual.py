"""A service in virtual time: the plan, the verdicts and the breakers over deployments that come and go.

No database and no clock: the rules are the program's, the rows are kept in memory here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

from imagequeue.domain.breaker import cooldown_after
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue, Flow
from imagequeue.domain.jobs import Lane
from imagequeue.domain.quota import HORIZON, LEASE_SLACK, GroupState, Quota, grant
from imagequeue.domain.rounds import Rounds
from imagequeue.domain.upstream import Unavailable
from imagequeue.domain.verdicts import History, judge
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits, OpenCalls
from imagequeue.lifecycle.dispatch.demand import Demand, JobInLine
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.dispatch.plan import DispatchPlan, PlannedCall
from imagequeue.lifecycle.dispatch.starts import UpcomingStarts
from imagequeue.store.attempts.deployments import DeploymentState
from imagequeue.store.jobs.claims import PastFailures
from tests.builders import MODEL
from tests.lifecycle.dispatch.virtual_upstreams import REQUIREMENT, Upstream, catalog, group

TICK = 0.25
"""Seconds between two passes."""

TOKENS_AT_ONCE = 100


@dataclass
class Job:
    """A job, and what became of it."""

    id: UUID
    flow: Flow
    submitted_at: float
    failures: dict[str, int] = field(default_factory=dict[str, int])
    failed_at: dict[str, float] = field(default_factory=dict[str, float])
    not_before: dict[str, float] = field(default_factory=dict[str, float])
    begun: bool = False
    in_flight: bool = False
    ended_at: float | None = None
    error: str | None = None


@dataclass
class Call:
    """A call that is under way."""

    job: Job
    upstream: Upstream
    granted_at: float
    ends_at: float


class Service:
    """Everything between a submit and the end of a job, driven by `run`."""

    def __init__(
        self,
        deployments: Mapping[str, Mapping[str, Any]],
        outages: Mapping[str, Sequence[tuple[float, float]]],
        seed: int = 0,
    ) -> None:
        self.catalog = catalog(deployments)
        self.eligibility = Eligibility(self.catalog)
        self.upstreams = {
            one.name: Upstream(one, outages.get(one.name, ())) for one in self.catalog.deployments
        }
        self.random = Random(seed)  # noqa: S311  # no secret
        self.now = 0.0
        self.jobs = list[Job]()
        self.calls = list[Call]()
        self.log = list[tuple[float, str]]()
        self.queue = FairQueue()
        self._ids = count(1)

    def submit(self, jobs: int, account: int = 1) -> list[Job]:
        """Jobs of one image each."""
        flow = Flow(account, MODEL, REQUIREMENT, UUID(int=account), Lane.INTERACTIVE)
        made = [Job(UUID(int=next(self._ids)), flow, self.now) for _ in range(jobs)]
        self.jobs += made
        return made

    def run(self, until: float, arrivals: Iterable[tuple[float, int]] = ()) -> None:
        """Let time pass, in ticks; (when, how many) jobs come meanwhile."""
        coming = deque(sorted(arrivals))
        while self.now < until:
            while coming and coming[0][0] <= self.now:
                self.submit(coming.popleft()[1])
            self._end_calls()
            self._begin_calls()
            self.now += TICK

    def waiting(self) -> list[Job]:
        """The jobs that want a call."""
        return [job for job in self.jobs if job.ended_at is None and not job.in_flight]

    def _begin_calls(self) -> None:
        waiting = self.waiting()
        if not waiting:
            return
        queued = deque(job for job in waiting if not job.begun)
        by_id = {job.id: job for job in waiting}
        for call in self._plan(waiting):
            job = by_id[call.job.id] if call.job.id else queued.popleft()
            self._begin(job, self.upstreams[call.deployment.name])

    def _plan(self, waiting: Sequence[Job]) -> Sequence[PlannedCall]:
        flows = list({job.flow.id: job.flow for job in waiting}.values())
        begun = dict[int, deque[JobInLine]]()
        for job in waiting:
            if job.begun:
                begun.setdefault(job.flow.id, deque()).append(self._in_line(job))
        queued = Counter(job.flow.id for job in waiting if not job.begun)
        demand = Demand(self.eligibility, flows, queued, begun)
        starts = {one.group: self._starts(one.name) for one in self.catalog.deployments}
        return DispatchPlan(self.eligibility, self._limits(), starts, demand, self.queue.plan(flows)).make()

    def _in_line(self, job: Job) -> JobInLine:
        past = {
            name: PastFailures(failures, job.not_before[name] - self.now)
            for name, failures in job.failures.items()
        }
        ends_soon = all(job.failures.get(name, 0) >= most for name, most in self._allowed().items())
        return JobInLine(job.flow, 1, job.id, past, ends_soon)

    def _starts(self, name: str) -> UpcomingStarts:
        upstream = self.upstreams[name]
        rule = self.quota(upstream.deployment)
        upstream.returns = sorted(at for at in upstream.returns if at > self.now)
        out = len(upstream.returns)
        state = GroupState(
            now=self.now,
            free=max(0, rule.rpm - out),
            returns=upstream.returns[max(0, out - rule.rpm) :],
            last_start=upstream.last_start,
        )
        return UpcomingStarts.of(group(name, rule, state), TOKENS_AT_ONCE, 10.0)

    def quota(self, deployment: Deployment) -> Quota:
        """The rule of a deployment's group."""
        return Quota(self.catalog.rpm(deployment), deployment.window_seconds, 0.0, deployment.pace)

    def _limits(self) -> ConcurrencyLimits:
        open_calls = OpenCalls()
        for name, one in self.upstreams.items():
            open_calls.add(name, Lane.INTERACTIVE, one.in_flight)
        return ConcurrencyLimits(
            slots={Lane.INTERACTIVE: 64}, in_all=64, open_calls=open_calls, states=self._states()
        )

    def _states(self) -> dict[str, DeploymentState]:
        return {
            name: DeploymentState(name, one.failures, False, "down", one.blocked_until - self.now)
            for name, one in self.upstreams.items()
            if one.failures
        }

    def _begin(self, job: Job, upstream: Upstream) -> None:
        rule, name = self.quota(upstream.deployment), upstream.deployment.name
        (start,) = self._granted(upstream, rule)
        upstream.returns.append(start + rule.cycle + LEASE_SLACK)
        upstream.last_start = start
        job.begun = job.in_flight = True
        upstream.in_flight += 1
        state = self._states().get(name)
        if state is not None and state.breaker == "half-open":
            upstream.blocked_until = self.now + 30.0
        self.queue.took(job.flow)
        self.log.append((self.now, name))
        self.calls.append(Call(job, upstream, self.now, start + upstream.latency))

    def _granted(self, upstream: Upstream, rule: Quota) -> list[float]:
        returns = sorted(at for at in upstream.returns if at > self.now)
        out = len(returns)
        state = GroupState(
            self.now, max(0, rule.rpm - out), returns[max(0, out - rule.rpm) :], upstream.last_start
        )
        found = grant(rule, state, 1)
        assert found, "the plan gave more calls than there are tokens"
        assert found[0] <= self.now + HORIZON
        return found

    def _end_calls(self) -> None:
        for call in [one for one in self.calls if one.ends_at <= self.now]:
            self.calls.remove(call)
            call.job.in_flight = False
            call.upstream.in_flight -= 1
            if call.upstream.is_down(call.ends_at - call.upstream.latency):
                self._failed(call)
            else:
                self._served(call)
            if not call.upstream.in_flight:
                call.upstream.idle_since = self.now

    def _served(self, call: Call) -> None:
        call.job.ended_at = self.now
        if call.upstream.opened_at is None or call.upstream.opened_at <= call.granted_at:
            call.upstream.failures, call.upstream.opened_at = 0, None

    def _failed(self, call: Call) -> None:
        job, name = call.job, call.upstream.deployment.name
        history = History(
            deployment=name,
            deaths=0,
            retry_ambiguous=True,
            rounds=Rounds(
                job.failures, self._allowed(), {one: self.now - at for one, at in job.failed_at.items()}
            ),
            same_round=job.failed_at.get(name, -1.0) >= call.granted_at,
        )
        verdict = judge(Unavailable("down", http_status=503), history, self.random)
        self._count_for_the_breaker(call)
        if verdict.ends:
            job.ended_at, job.error = self.now, verdict.error
            return
        job.failures[name] = job.failures.get(name, 0) + verdict.counts
        job.failed_at[name] = self.now
        job.not_before[name] = self.now + verdict.delay
        job.not_before |= dict.fromkeys(verdict.repeats, self.now)

    def _count_for_the_breaker(self, call: Call) -> None:
        upstream = call.upstream
        if upstream.opened_at is not None and upstream.opened_at > call.granted_at:
            return
        upstream.failures += 1
        seconds = cooldown_after(upstream.failures, self.random, misconfigured=False)
        if seconds > 0:
            upstream.opened_at, upstream.blocked_until = self.now, self.now + seconds

    def _allowed(self) -> dict[str, int]:
        return {name: one.deployment.max_attempts for name, one in self.upstreams.items()}
