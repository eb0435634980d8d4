"""Dispatch: grant starts and claim jobs, one quota group at a time; then send the doorbells.

A grant, the claim of its job and the insert of its attempt are one transaction under the lock of the
group's row: there is no second count of tokens that could disagree (docs/design/rate-limiting.md, "The
grant"). The token comes first, then the job, so that whose job is next is decided at the last moment.

A pass (`run_once`) reads which groups can start a call within a second; unless one can, it reads nothing
else. Then it finds the flows in which jobs wait (`backlog.py`) and the free worker slots (`concurrency.py`).
For each group, by order, start and cost, it looks for the flows that the group can serve (`candidates`), and
in one transaction locks the group, computes the starts (`grant`), leaves to other groups what they are to
take (`overflow.py`, `balance.py`), claims jobs for the rest (`claim.py`) and inserts their attempts. Groups
that left calls to others are served once more at the end, for what those did not take.

Any number of dispatchers may run, because row locks make them correct. Each has fair queues and cursors of
its own, which concern fairness and speed only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import UUID

from sqlalchemy import Connection, Engine

from imagequeue.domain import upstream_throttling
from imagequeue.domain.backoff import EXHAUSTED_GROUP
from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue
from imagequeue.domain.ids import new_id
from imagequeue.domain.quota import HORIZON, LEASE_SLACK, Quota, grant, next_start
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.dispatch.backlog import Backlog, Waiting
from imagequeue.lifecycle.dispatch.balance import Balance
from imagequeue.lifecycle.dispatch.claim import Candidate, Claim, ClaimedCall, find_candidates
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.dispatch_pass import Pass
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.dispatch.overflow import Overflow
from imagequeue.store.attempts import deployments, quota
from imagequeue.store.attempts.calls import RELEASE_SECONDS, Doorbell
from imagequeue.store.attempts.quota import Group
from imagequeue.store.jobs.claims import NewAttempt, insert_attempts

GRANTS_AT_ONCE = 100
"""The most tokens that one transaction grants, so that a group's lock is held for milliseconds."""

PROBE_SECONDS = 30.0
"""Seconds beyond its own deadline after which a probe is taken for lost, and another one may go."""

Release = Callable[[Sequence[Doorbell]], None]


@dataclass(slots=True)
class Dispatch:
    """Makes passes. `release` sends doorbells; the sweep sends again those that are lost."""

    engine: Engine
    eligibility: Eligibility
    release: Release
    backlog: Backlog = field(default_factory=Backlog)
    queues: dict[frozenset[str], FairQueue] = field(default_factory=dict[frozenset[str], FairQueue])
    at_once: int = GRANTS_AT_ONCE

    def run_once(self) -> int:
        """Grant what can be granted now; how many attempts were released."""
        by_group = self._deployments_by_group()
        with self.engine.begin() as connection:
            groups = quota.read_groups(connection, list(by_group), self.at_once)
            due = [group for group in groups.values() if _is_due(group)]
            waiting = self.backlog.look(connection) if due else Waiting()
            limits = ConcurrencyLimits.read(connection) if waiting else ConcurrencyLimits()
        if due and not waiting:
            self.queues.clear()  # without waiting jobs no account is ahead of another
        due.sort(key=lambda group: _preference(by_group[group.name][0], group))
        turn = Pass(self.eligibility, groups, waiting, limits, self.at_once)
        return self._serve_all([by_group[group.name] for group in due], turn) if waiting else 0

    def _serve_all(self, groups: Sequence[list[Deployment]], turn: Pass) -> int:
        """Serve one group after the other; those that left calls to others are served again at the end."""
        released = sum(self._serve(members, turn, groups[n + 1 :]) for n, members in enumerate(groups))
        again, turn.again = turn.again, []
        return released + sum(self._serve(members, turn, ()) for members in again)

    def _deployments_by_group(self) -> dict[str, list[Deployment]]:
        by_group = sorted(
            self.eligibility.catalog.deployments, key=lambda one: (one.group, one.order, _cost(one), one.name)
        )
        return {name: list(some) for name, some in groupby(by_group, key=lambda one: one.group)}

    def _serve(
        self, members: Sequence[Deployment], turn: Pass, rivals: Sequence[Sequence[Deployment]]
    ) -> int:
        candidates = find_candidates(members, turn)
        if not candidates:
            return 0
        with self.engine.begin() as connection:
            calls, new = self._grant(connection, candidates, turn, rivals)
        failpoint("dispatch.claimed")
        self.backlog.claimed([call.job for call in calls])
        turn.waiting = turn.waiting.also_incomplete(_begun(calls))
        if new:
            self.release([Doorbell(attempt.id, attempt.lane) for attempt in new])
        return len(new)

    def _grant(
        self,
        connection: Connection,
        candidates: Mapping[int, Candidate],
        turn: Pass,
        rivals: Sequence[Sequence[Deployment]],
    ) -> tuple[list[ClaimedCall], list[NewAttempt]]:
        name = next(iter(candidates.values())).deployment.group
        group = quota.lock_group(connection, name, self.at_once)
        _recover(connection, group)
        slots = grant(group.quota, group.state, self.at_once)
        if not slots:
            return [], []
        _look_for_probes(connection, candidates, turn.limits)
        left, tokens = self._tokens(connection, candidates, len(slots), turn, rivals)
        queue = self.queues.setdefault(self.eligibility.pools[name], FairQueue())
        calls = Claim(connection, turn, self.backlog, queue).take(left, tokens)
        failpoint("dispatch.claiming")
        new = [_attempt(call, slot, group.quota) for call, slot in zip(calls, slots, strict=False)]
        if new:
            insert_attempts(connection, new)
            quota.set_last_start(connection, name, slots[len(new) - 1], EXHAUSTED_GROUP.first_seconds)
            _mark_probes(connection, calls, new, turn.limits)
        return calls, new

    def _tokens(
        self,
        connection: Connection,
        candidates: Mapping[int, Candidate],
        slots: int,
        turn: Pass,
        rivals: Sequence[Sequence[Deployment]],
    ) -> tuple[dict[int, Candidate], int]:
        """What earlier orders leave, and of that what no other group of this pass could start sooner."""
        left, tokens = Overflow(turn).leave(connection, candidates)
        tokens = min(tokens, slots)
        share = Balance(turn).share(connection, left, tokens, rivals) if rivals else tokens
        if 0 < share < tokens:
            turn.again.append(list({one.deployment.name: one.deployment for one in left.values()}.values()))
        return left, share


def _begun(calls: Sequence[ClaimedCall]) -> set[int]:
    """The flows of the jobs that want more than these calls bring."""
    asked = Counter[UUID]()
    for call in calls:
        asked[call.job.id] += call.image_count
    return {call.job.flow_id for call in calls if asked[call.job.id] < call.job.missing_images}


def _is_due(group: Group) -> bool:
    return next_start(group.quota, group.state) <= group.state.now + HORIZON


def _recover(connection: Connection, group: Group) -> None:
    """Take back a part of the group's drift, when ten windows have passed without a drift."""
    drift = upstream_throttling.recovered(
        group.drift, rpm=group.rpm, window=group.quota.window, now=group.state.now
    )
    if drift:
        quota.set_drift(connection, group.name, drift)


def _look_for_probes(
    connection: Connection, candidates: Mapping[int, Candidate], limits: ConcurrencyLimits
) -> None:
    """Read the breakers again: whether a probe is in flight is certain only under the group's lock."""
    tried = {one.deployment.name: one.deployment for one in candidates.values()}
    if any(limits.breaker(deployment) is Breaker.HALF_OPEN for deployment in tried.values()):
        limits.states = deployments.read_states(connection)


def _mark_probes(
    connection: Connection, calls: Sequence[ClaimedCall], new: Sequence[NewAttempt], limits: ConcurrencyLimits
) -> None:
    for call, attempt in zip(calls, new, strict=False):
        deployment = call.candidate.deployment
        if limits.breaker(deployment) is Breaker.HALF_OPEN:
            patience = deployment.timeout_seconds + PROBE_SECONDS
            deployments.take_probe(connection, deployment.name, attempt.id, patience)


def _attempt(call: ClaimedCall, slot: float, rule: Quota) -> NewAttempt:
    deployment = call.candidate.deployment
    return NewAttempt(
        id=new_id(),
        job_id=call.job.id,
        deployment=deployment.name,
        quota_group=deployment.group,
        lane=call.candidate.flow.lane,
        image_count=call.image_count,
        start_at=quota.at(slot),
        token_returns_at=quota.at(slot + rule.cycle + LEASE_SLACK),
        release_deadline=quota.at(slot + RELEASE_SECONDS),
    )


def _preference(deployment: Deployment, group: Group) -> tuple[int, float, float]:
    """Which group is served first: by order, then by its next start, then by cost."""
    return (deployment.order, next_start(group.quota, group.state), _cost(deployment))


def _cost(deployment: Deployment) -> float:
    return float(deployment.cost_usd or 0)
