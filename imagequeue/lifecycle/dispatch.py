"""Dispatch: grant tokens and claim jobs, one quota group at a time; then ring.

A grant, the claim of its job and the insert of its attempt are one transaction under the lock of the
group's row: there is no second store of tokens that could disagree (rate-limiting.md, "The rule").
Token first, then job: who goes next is decided at the last moment.

Any number of dispatchers may run; row locks make them correct, and each keeps its own memory of turns and
cursors, which is about fairness and speed only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy import Connection, Engine

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import FairQueue
from imagequeue.domain.ids import new_id
from imagequeue.domain.quota import LEASE_SLACK, Quota, grant
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.backlog import Backlog, Waiting
from imagequeue.lifecycle.claim import Candidate, Claim, ClaimedCall, find_candidates
from imagequeue.lifecycle.room import Room
from imagequeue.lifecycle.serving import Serving
from imagequeue.store import quota
from imagequeue.store.attempts import RELEASE_SECONDS, Doorbell
from imagequeue.store.claims import NewAttempt, insert_attempts

GRANTS_AT_ONCE = 100
"""The most tokens that one transaction grants, so that a group's lock is held for milliseconds."""

Release = Callable[[Sequence[Doorbell]], None]


@dataclass(slots=True)
class Dispatch:
    """The verb, with what it needs. `release` rings; where that fails, the sweep rings later."""

    engine: Engine
    serving: Serving
    release: Release
    backlog: Backlog = field(default_factory=Backlog)
    queues: dict[str, FairQueue] = field(default_factory=dict[str, FairQueue])

    def run_once(self) -> int:
        """Grant what can be granted now; how many attempts were released."""
        with self.engine.begin() as connection:
            waiting = self.backlog.look(connection)
            room = Room.look(connection) if waiting else Room()
        return sum(self._serve(group, waiting, room) for group in self._groups()) if waiting else 0

    def _groups(self) -> Iterator[list[Deployment]]:
        """The deployments of each quota group; the group with the lowest order, then cost, first."""
        by_group = sorted(self.serving.catalog.deployments, key=lambda one: one.group)
        groups = [sorted(some, key=_preference) for _, some in groupby(by_group, key=lambda one: one.group)]
        yield from sorted(groups, key=lambda some: _preference(some[0]))

    def _serve(self, deployments: Sequence[Deployment], waiting: Waiting, room: Room) -> int:
        candidates = find_candidates(deployments, waiting, self.serving, room)
        if not candidates:
            return 0
        with self.engine.begin() as connection:
            calls, new = self._grant(connection, candidates, waiting, room)
        failpoint("dispatch.claimed")
        self.backlog.claimed([call.job for call in calls])
        if new:
            self.release([Doorbell(attempt.id, attempt.lane) for attempt in new])
        return len(new)

    def _grant(
        self, connection: Connection, candidates: Mapping[int, Candidate], waiting: Waiting, room: Room
    ) -> tuple[list[ClaimedCall], list[NewAttempt]]:
        group = next(iter(candidates.values())).deployment.group
        rule = self._rule(group)
        slots = grant(rule, quota.group_state(connection, group), GRANTS_AT_ONCE)
        if not slots:
            return [], []
        claim = Claim(connection, self.backlog, waiting, room, self.queues.setdefault(group, FairQueue()))
        calls = claim.take(candidates, len(slots))
        failpoint("dispatch.claiming")
        new = [_attempt(call, slot, rule) for call, slot in zip(calls, slots, strict=False)]
        if new:
            insert_attempts(connection, new)
            quota.set_last_slot(connection, group, slots[len(new) - 1])
        return calls, new

    def _rule(self, group_name: str) -> Quota:
        group = self.serving.catalog.quota_groups[group_name]
        return Quota(group.rpm, group.window_seconds, group.guard_ms / 1000, group.pace)


def _attempt(call: ClaimedCall, slot: float, rule: Quota) -> NewAttempt:
    deployment = call.candidate.deployment
    return NewAttempt(
        id=new_id(),
        job_id=call.job.id,
        deployment=deployment.name,
        quota_group=deployment.group,
        lane=call.candidate.flow.lane,
        image_count=call.image_count,
        slot_at=quota.at(slot),
        token_returns_at=quota.at(slot + rule.cycle + LEASE_SLACK),
        release_deadline=quota.at(slot + RELEASE_SECONDS),
    )


def _preference(deployment: Deployment) -> tuple[int, float, str]:
    return (deployment.order, float(deployment.cost_usd or 0), deployment.name)
