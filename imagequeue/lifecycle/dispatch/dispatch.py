"""Dispatch: grant starts and claim jobs by a plan, one quota group at a time; then send the doorbells.

A grant, the claim of its job and the insert of its attempt are one transaction under the lock of the
group's row: there is no second count of tokens that could disagree (docs/design/rate-limiting.md, "The
grant"). The token comes first, then the job, so that whose job is next is decided at the last moment.

A pass (`run_once`) reads which groups can start a call within a second; unless one can, it reads nothing
else. Then it finds the flows in which jobs wait (`backlog.py`), which it looks for first, and mostly for
nothing else, where the last pass found none. It reads the free worker slots (`concurrency.py`) and
how much waits (`demand.py`), and plans which jobs start where (`plan.py`). For each group of the plan it
locks the group in one transaction, computes the starts (`grant`), locks the planned jobs (`claim.py`) and
inserts their attempts. What another dispatcher took first is planned again, a few times.

Any number of dispatchers may run, because row locks make them correct. Each has fair queues and cursors of
its own, which concern fairness and speed only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from uuid import UUID

from sqlalchemy import Connection, Engine

from imagequeue.domain import upstream_throttling
from imagequeue.domain.backoff import EXHAUSTED_GROUP
from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue, Flow
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.domain.quota import HORIZON, LEASE_SLACK, Quota, grant, next_start
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.dispatch.backlog import Backlog, Waiting
from imagequeue.lifecycle.dispatch.claim import Claim, ClaimedCall
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.demand import DemandReader
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.dispatch.plan import OTHER_DEPLOYMENT_SECONDS, DispatchPlan, PlannedCall
from imagequeue.lifecycle.dispatch.starts import UpcomingStarts
from imagequeue.store.attempts import deployments, quota
from imagequeue.store.attempts.calls import RELEASE_SECONDS, Doorbell
from imagequeue.store.attempts.quota import Group
from imagequeue.store.database import separate_statements
from imagequeue.store.jobs.claims import NewAttempt, insert_attempts

GRANTS_AT_ONCE = 100
"""The most tokens that one transaction grants, so that a group's lock is held for milliseconds."""

MOST_IMAGES = 10
"""Of a job, and so of a call: more jobs than that for each start change no plan."""

PROBE_SECONDS = 30.0
"""Seconds beyond its own deadline after which a probe is taken for lost, and another one may go."""

PLANS_OF_A_PASS = 4
"""What another dispatcher took first is planned again at once; after so many plans the next pass does it."""

Release = Callable[[Sequence[Doorbell]], None]


@dataclass(slots=True)
class Pass:
    """What one pass of the dispatcher knows."""

    groups: Mapping[str, Group]
    waiting: Waiting
    limits: ConcurrencyLimits


@dataclass(slots=True)
class Dispatch:
    """Makes passes. `release` sends doorbells; the sweep sends again those that are lost."""

    engine: Engine
    eligibility: Eligibility
    release: Release
    backlog: Backlog = field(default_factory=Backlog)
    queues: dict[frozenset[str], FairQueue] = field(default_factory=dict[frozenset[str], FairQueue])
    at_once: int = GRANTS_AT_ONCE
    may_wait: bool = True
    """Whether jobs may wait; False after a pass that has looked for some and found none."""

    def run_once(self) -> int:
        """Grant what can be granted now; how many attempts were released."""
        known, planned = self._begin()
        released = 0
        for _ in range(PLANS_OF_A_PASS):
            granted = sum(self._serve(name, some, known) for name, some in planned.items())
            released += granted
            if granted == sum(map(len, planned.values())) or not known.waiting:
                break
            with separate_statements(self.engine) as connection:
                known.groups = quota.read_groups(connection, list(known.groups), self.at_once)
                planned = self._plan(connection, known)
        return released

    def _begin(self) -> tuple[Pass, dict[str, list[PlannedCall]]]:
        known = Pass({}, Waiting(), ConcurrencyLimits())
        with separate_statements(self.engine) as connection:
            # What is least likely is read first, and ends the pass: jobs that wait, or a start that is due.
            if not (self.may_wait or self._look(connection, known)):
                return known, {}
            known.groups = quota.read_groups(connection, list(self.eligibility.pools), self.at_once)
            if not any(map(_is_due, known.groups.values())):
                return known, {}
            if not (known.waiting or self._look(connection, known)):
                return known, {}
            accounts = {flow.account_id for flow in known.waiting.flows}
            known.limits = ConcurrencyLimits.read(connection, accounts)
            return known, self._plan(connection, known)

    def _look(self, connection: Connection, known: Pass) -> bool:
        """Find the flows in which jobs wait; False: there is none."""
        known.waiting = self.backlog.look(connection)
        self.may_wait = bool(known.waiting)
        if not known.waiting:
            self.queues.clear()  # without waiting jobs no account is ahead of another
        return self.may_wait

    def _plan(self, connection: Connection, known: Pass) -> dict[str, list[PlannedCall]]:
        """The calls that are to be granted now, by quota group; of one pool after the other."""
        by_group, limits = dict[str, list[PlannedCall]](), known.limits.copy()
        for pool, flows in self._waiting_pools(known):
            for call in self._plan_pool(connection, known, pool, flows, limits):
                by_group.setdefault(call.deployment.group, []).append(call)
        return by_group

    def _waiting_pools(self, known: Pass) -> Iterator[tuple[frozenset[str], list[Flow]]]:
        """The pools in which jobs wait and a start is due; worker slots go first to the one served last."""
        by_pool = dict[frozenset[str], list[Flow]]()
        for (model_id, requirement, _), flows in known.waiting.classes.items():
            if self.eligibility.deployments(model_id, requirement):
                by_pool.setdefault(self.eligibility.pool_of_model[model_id], []).extend(flows)

        def served_at(pool: frozenset[str]) -> float:
            starts = [known.groups[name].state.last_start for name in pool if name in known.groups]
            return max((start for start in starts if start is not None), default=-inf)

        for pool in sorted(by_pool, key=lambda pool: (served_at(pool), min(pool))):
            if any(name in known.groups and _is_due(known.groups[name]) for name in pool):
                yield pool, by_pool[pool]

    def _plan_pool(
        self,
        connection: Connection,
        known: Pass,
        pool: frozenset[str],
        flows: Sequence[Flow],
        limits: ConcurrencyLimits,
    ) -> Sequence[PlannedCall]:
        members = [one for one in self.eligibility.catalog.deployments if one.group in pool]
        horizon = max(OTHER_DEPLOYMENT_SECONDS, *(one.spill_after_seconds for one in members))
        starts = {
            name: UpcomingStarts.of(known.groups[name], self.at_once, horizon)
            for name in sorted(pool & known.groups.keys())
        }
        ready = [one for one in members if one.group in starts and _is_ready(one, starts[one.group], limits)]
        if not ready:
            return ()
        reader = DemandReader(connection, self.backlog, self.eligibility, flows, ready)
        most = sum(len(one.seconds) for one in starts.values()) * MOST_IMAGES
        demand = reader.read(known.waiting.queued, known.waiting.incomplete, most)
        turns = self._queue(pool).plan(flows)
        return DispatchPlan(self.eligibility, limits, starts, demand, turns).make()

    def _queue(self, pool: frozenset[str]) -> FairQueue:
        return self.queues.setdefault(pool, FairQueue())

    def _serve(self, name: str, planned: Sequence[PlannedCall], known: Pass) -> int:
        """Grant and claim the planned calls of a quota group, and ring for them; how many."""
        with self.engine.begin() as connection:
            calls, new = self._grant(connection, name, planned, known)
        failpoint("dispatch.claimed")
        self.backlog.claimed([call.job for call in calls])
        if new:
            self.release([Doorbell(attempt.id, attempt.lane) for attempt in new])
        return len(new)

    def _grant(
        self, connection: Connection, name: str, planned: Sequence[PlannedCall], known: Pass
    ) -> tuple[list[ClaimedCall], list[NewAttempt]]:
        group = quota.lock_group(connection, name, len(planned))
        _recover(connection, group)
        starts = grant(group.quota, group.state, min(len(planned), self.at_once))
        if not starts:
            return [], []
        _look_for_probes(connection, planned, known.limits)
        pool = self.eligibility.pools[name]
        backfill_waits = any(
            flow.lane is Lane.BACKFILL and self.eligibility.pool_of_model.get(flow.model_id) == pool
            for flow in known.waiting.flows
        )
        claim = Claim(connection, self.backlog, known.limits, self._queue(pool), backfill_waits)
        calls = claim.take(planned, len(starts))
        # For another plan of this pass: the claim has set the ids of the queued jobs that it found, so where
        # an id is still missing, the flow has no queued job left.
        empty = {one.job.flow.id for one in planned if one.job.id is None}
        known.waiting = known.waiting.after_claim(_begun(calls), empty)
        failpoint("dispatch.claiming")
        new = [_attempt(call, start, group.quota) for call, start in zip(calls, starts, strict=False)]
        if new:
            insert_attempts(connection, new)
            quota.set_last_start(connection, name, starts[len(new) - 1], EXHAUSTED_GROUP.first_seconds)
            _mark_probes(connection, calls, new, known.limits)
        return calls, new


def _begun(calls: Sequence[ClaimedCall]) -> set[int]:
    """The flows of the jobs that miss more images than these calls are to bring."""
    asked = Counter[UUID]()
    for call in calls:
        asked[call.job.id] += call.image_count
    return {call.job.flow_id for call in calls if asked[call.job.id] < call.job.missing_images}


def _is_due(group: Group) -> bool:
    return next_start(group.quota, group.state) <= group.state.now + HORIZON


def _is_ready(deployment: Deployment, starts: UpcomingStarts, limits: ConcurrencyLimits) -> bool:
    """Whether a deployment can take a call of some lane now."""
    return starts.are_due and any(limits.left(lane, deployment) > 0 for lane in Lane)


def _recover(connection: Connection, group: Group) -> None:
    """Take back a part of the group's drift, when ten windows have passed without a drift."""
    drift = upstream_throttling.recovered(
        group.drift, rpm=group.rpm, window=group.quota.window, now=group.state.now
    )
    if drift:
        quota.set_drift(connection, group.name, drift)


def _look_for_probes(
    connection: Connection, planned: Sequence[PlannedCall], limits: ConcurrencyLimits
) -> None:
    """Read the breakers again: whether a probe is in flight is certain only under the group's lock."""
    tried = {one.deployment.name: one.deployment for one in planned}
    if any(limits.breaker(deployment) is Breaker.HALF_OPEN for deployment in tried.values()):
        limits.set_states(deployments.read_states(connection))


def _mark_probes(
    connection: Connection, calls: Sequence[ClaimedCall], new: Sequence[NewAttempt], limits: ConcurrencyLimits
) -> None:
    for call, attempt in zip(calls, new, strict=False):
        deployment = call.deployment
        if limits.breaker(deployment) is Breaker.HALF_OPEN:
            patience = deployment.timeout_seconds + PROBE_SECONDS
            deployments.take_probe(connection, deployment.name, attempt.id, patience)


def _attempt(call: ClaimedCall, start: float, rule: Quota) -> NewAttempt:
    deployment = call.deployment
    return NewAttempt(
        id=new_id(),
        job_id=call.job.id,
        deployment=deployment.name,
        quota_group=deployment.group,
        lane=call.flow.lane,
        image_count=call.image_count,
        start_at=quota.at(start),
        token_returns_at=quota.at(start + rule.cycle + LEASE_SLACK),
        release_deadline=quota.at(start + RELEASE_SECONDS),
    )
