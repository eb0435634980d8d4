"""The plan of a pass: which waiting jobs start now, and where.

Source: docs/design/rate-limiting.md, "Overflow and balance".

The jobs choose in the order of their turns. Among the deployments that can serve a job it prefers

1. those that have failed it least often: one that failed it comes back after its back-off, and while another
   one that failed it less often could start it within `OTHER_DEPLOYMENT_SECONDS`, so much later at most;
2. a lower order, unless the job's own start there would be `spill_after_seconds` later than at the next one;
3. the earliest start, then the lowest cost, then the quota group that was not used for longest.

A job that waits for a later start keeps that start: those behind it in the line see the next one. But a job
does not wait for an earlier order where so many jobs wait that its starts will all be used anyhow. So with a
long backlog every order works, and nobody at its front waits for a start that others would use as well.

What can start now somewhere starts: a token stays unused only if no waiting job may use it, or if every job
that may waits by rule 1 or 2.

A deployment that failed lately, or whose breaker is half-open, gets a job that it has failed only if no other
one takes the start: the job may be what makes its calls fail.

Everything here is computed from values; no statement is made and no clock is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import PlannedTurns
from imagequeue.domain.quota import HORIZON
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.demand import Demand, JobInLine
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.dispatch.starts import UpcomingStarts

OTHER_DEPLOYMENT_SECONDS = 5.0
"""So long beyond a back-off a job waits for a deployment that has failed it less often.

Most pauses after a 429 pass in that time, and a call takes longer than that.
"""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call for a job: at which deployment, for how many images."""

    job: JobInLine
    deployment: Deployment
    image_count: int


class _Choice(NamedTuple):
    """What a deployment offers to a job; `start` in seconds from now.

    `is_now`: the call may be granted now. `is_firm`: the job may wait for it. `patience`: for so many more
    seconds the job prefers to wait for a deployment that has failed it less often.
    """

    deployment: Deployment
    failures: int
    start: float
    last: tuple[float, int]
    is_now: bool
    is_firm: bool
    patience: float

    @property
    def order(self) -> int:
        """The deployment's."""
        return self.deployment.order

    @property
    def preference(self) -> tuple[int, int, float, float, tuple[float, int], str]:
        """The smallest is the best."""
        cost = float(self.deployment.cost_usd or 0)
        return (self.failures, self.order, self.start, cost, self.last, self.deployment.name)

    def has_failed_less(self, than: _Choice) -> bool:
        """Whether this one has failed the job less often, and starts soon."""
        return self.failures < than.failures and self.start <= OTHER_DEPLOYMENT_SECONDS

    def is_earlier(self, than: _Choice, within: float) -> bool:
        """Whether this one stands earlier in the order, and starts within so many seconds."""
        return self.order < than.order and self.start <= within


@dataclass(slots=True)
class DispatchPlan:
    """The plan for one pool. `limits` is changed: what is planned uses it up."""

    eligibility: Eligibility
    limits: ConcurrencyLimits
    starts: Mapping[str, UpcomingStarts]
    demand: Demand
    turns: PlannedTurns
    calls: list[PlannedCall] = field(default_factory=list[PlannedCall])
    _kept: Counter[str] = field(default_factory=Counter[str])
    _suspects: list[JobInLine] = field(default_factory=list[JobInLine])
    _admits_suspects: bool = False

    def make(self) -> list[PlannedCall]:
        """The calls that are to be granted now, in the order of the turns."""
        while self._are_due() and (flow := self.turns.first()):
            job = self.demand.take(flow)
            if job is None:
                self.turns.drop(flow)
            elif calls := self._place(job):
                self.turns.took(flow, calls)
            elif job.id is None and flow.account_id in self.limits.kept_out.values():
                self.turns.drop(flow)  # its jobs cannot go where those of others can
            elif job.id is None:
                self.demand.close(flow)
        self._admits_suspects = True
        for job in self._suspects:
            self._place(job)
        return self.calls

    def _are_due(self) -> bool:
        return any(starts.are_due for starts in self.starts.values())

    def _place(self, job: JobInLine) -> int:
        """Plan calls for a job's missing images; how many, those included for which it waits."""
        missing, calls = job.missing_images, 0
        while missing > 0 and (choice := self._choose(job, missing)):
            missing -= self._take(job, choice, missing)
            calls += 1
        return calls

    def _choose(self, job: JobInLine, missing: int) -> _Choice | None:
        """Where the job starts now, or else for which start it waits."""
        choices = sorted(self._choices(job), key=lambda one: one.preference)
        now, later = _apart(choices)
        admitted = [one for one in now if not self._is_suspect(job, one)]
        best = self._best_now(admitted, choices, missing)
        if best is None and len(admitted) < len(now) and self._best_now(now, choices, missing):
            self._suspects.append(job)
            return None
        return best or next(iter(later), None)

    def _choices(self, job: JobInLine) -> Iterator[_Choice]:
        for deployment in self.eligibility.deployments(job.flow.model_id, job.flow.requirement):
            choice = self._choice(job, deployment)
            if choice and (choice.is_now or choice.is_firm):
                yield choice

    def _choice(self, job: JobInLine, deployment: Deployment) -> _Choice | None:
        starts, past = self.starts.get(deployment.group), job.past.get(deployment.name)
        if starts is None or not job.may_go_to(deployment):
            return None
        if self.limits.keeps_out(deployment, job.flow.account_id):
            return None
        ends_in = past.ends_in if past else -inf
        start, breaker = starts.first(max(0.0, ends_in)), self.limits.breaker(deployment)
        if start is None or breaker is Breaker.OPEN:
            return None
        room = self.limits.left(job.flow.lane, deployment)
        certain = breaker is Breaker.CLOSED and not starts.is_probing
        return _Choice(
            deployment=deployment,
            failures=past.count if past else 0,
            start=start,
            last=starts.last,
            is_now=ends_in <= 0 and start <= HORIZON and room > 0,
            is_firm=certain and room > self._kept[deployment.name],
            patience=OTHER_DEPLOYMENT_SECONDS + ends_in,
        )

    def _is_suspect(self, job: JobInLine, choice: _Choice) -> bool:
        """Whether the job may be the reason why the deployment has failed lately."""
        if self._admits_suspects or choice.deployment.name not in job.past:
            return False
        state = self.limits.states.get(choice.deployment.name)
        return state is not None and state.failures > 0

    def _best_now(self, now: Sequence[_Choice], choices: Sequence[_Choice], missing: int) -> _Choice | None:
        """The best of the choices that can start now, unless the job is to wait for a better one."""
        best = None
        for one in now:
            if self._is_to_wait(one, choices, missing):
                continue
            if best is None or _overflows(best, one):
                best = one
        return best

    def _is_to_wait(self, choice: _Choice, choices: Sequence[_Choice], missing: int) -> bool:
        """Whether the job waits for another deployment rather than to start at this one."""
        better = [one for one in choices if one.is_firm and one.failures <= choice.failures]
        if choice.patience > 0 and any(one.has_failed_less(choice) for one in better):
            return True
        within = choice.start + choice.deployment.spill_after_seconds
        earlier = [one.deployment for one in better if one.is_earlier(choice, within)]
        return bool(earlier) and not self._exceeds(earlier, within, missing)

    def _exceeds(self, earlier: Sequence[Deployment], within: float, missing: int) -> bool:
        """Whether more images wait than these deployments can begin to make within so many seconds."""
        by_group = dict[str, list[Deployment]]()
        for one in earlier:
            by_group.setdefault(one.group, []).append(one)
        able = sum(self._images_within(members, within) for members in by_group.values())
        return able < inf and self.demand.exceeds(able - missing, earlier, within)

    def _images_within(self, members: Sequence[Deployment], within: float) -> float:
        room = sum(
            max(0, self.limits.left_in(self.demand.lanes, one) - self._kept[one.name]) for one in members
        )
        calls = min(self.starts[members[0].group].within(within), room)
        return calls * max(self.demand.images_of_a_call(one) for one in members)

    def _take(self, job: JobInLine, choice: _Choice, missing: int) -> int:
        """Use the start of a choice up, for a call or for a job that waits; how many images it brings."""
        deployment = choice.deployment
        images = min(missing, self.eligibility.images_per_call(deployment, job.flow.requirement))
        self.starts[deployment.group].take(choice.start, len(self.calls) + 1)
        if choice.is_now:
            self.limits.take(job.flow.lane, deployment)
            self.calls.append(PlannedCall(job, deployment, images))
        else:
            self._kept[deployment.name] += 1
        return images


def _apart(choices: Sequence[_Choice]) -> tuple[list[_Choice], list[_Choice]]:
    """Those that may start now, and those for which the job would wait, in their order."""
    return [one for one in choices if one.is_now], [one for one in choices if not one.is_now]


def _overflows(best: _Choice, later: _Choice) -> bool:
    """Whether a later order starts so much sooner that the job goes there."""
    is_later = later.order > best.order and later.failures == best.failures
    return is_later and best.start > later.start + later.deployment.spill_after_seconds
