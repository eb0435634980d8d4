"""How many more calls may be in flight (docs/design/rate-limiting.md, "Concurrency limits").

Released and calling attempts never exceed the worker slots that live workers report, in all and by lane. A
slot that two lanes share in halves counts as a whole one for each of them, but takes one call at a time: a
worker with a single slot serves both lanes.

One deployment holds at most half of each lane's slots, so that one that hangs leaves slots to the others; or
its `max_in_flight`, over all lanes. A deployment whose breaker is open may start no call; a half-open one may
start its probe. One that a single account's calls have opened may start a probe of any other
account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.jobs import Lane
from imagequeue.store.attempts.deployments import DeploymentState
from imagequeue.store.attempts.limits import read_limits


@dataclass(slots=True)
class OpenCalls:
    """How many calls are released or in flight, by deployment and lane, and summed up over either."""

    each: Counter[tuple[str, Lane]] = field(default_factory=Counter[tuple[str, Lane]])
    by_lane: Counter[Lane] = field(default_factory=Counter[Lane])
    by_deployment: Counter[str] = field(default_factory=Counter[str])

    def add(self, deployment: str, lane: Lane, calls: int) -> None:
        """Count more calls."""
        self.each[deployment, lane] += calls
        self.by_lane[lane] += calls
        self.by_deployment[deployment] += calls


@dataclass(slots=True)
class ConcurrencyLimits:
    """Slots by lane and in all, and what is in flight; `take` uses one up."""

    slots: Mapping[Lane, int] = field(default_factory=dict[Lane, int])
    in_all: int = 0
    open_calls: OpenCalls = field(default_factory=OpenCalls)
    states: Mapping[str, DeploymentState] = field(default_factory=dict[str, DeploymentState])
    probes: Counter[str] = field(default_factory=Counter[str])
    accounts: frozenset[UUID] = frozenset()
    kept_out: Mapping[str, UUID] = field(default_factory=dict[str, UUID])

    @classmethod
    def read(cls, connection: Connection, accounts: Iterable[UUID] = ()) -> ConcurrencyLimits:
        """Read the slots and what is in flight; `accounts` are those whose jobs wait."""
        found = read_limits(connection)
        limits = cls(
            slots={lane: ceil(found.slots.get(f"generate.{lane}", 0)) for lane in Lane},
            in_all=int(sum(found.slots.values())),
            accounts=frozenset(accounts),
        )
        limits.set_states(found.states)
        for (deployment, lane), count in found.open_counts.items():
            limits.open_calls.add(deployment, lane, count)
        return limits

    def copy(self) -> ConcurrencyLimits:
        """The same, for a plan to use up."""
        calls = self.open_calls
        open_calls = OpenCalls(Counter(calls.each), Counter(calls.by_lane), Counter(calls.by_deployment))
        return replace(self, open_calls=open_calls, probes=Counter(self.probes))

    def set_states(self, states: Mapping[str, DeploymentState]) -> None:
        """Say how the deployments do.

        A breaker that one account's calls alone have opened is half-open at once where others wait.
        """
        self.states = {
            name: replace(state, blocked_for=min(0.0, state.blocked_for))
            if self._others_wait(state)
            else state
            for name, state in states.items()
        }
        self.kept_out = {
            name: state.opened_by
            for name, state in states.items()
            if state.opened_by and state.blocked_for > 0
        }

    def keeps_out(self, deployment: Deployment, account_id: UUID) -> bool:
        """Whether the account's calls alone have opened the breaker, so that only others may try."""
        return self.kept_out.get(deployment.name) == account_id

    def _others_wait(self, state: DeploymentState) -> bool:
        return state.opened_by is not None and bool(self.accounts - {state.opened_by})

    def breaker(self, deployment: Deployment) -> Breaker:
        """How a deployment's circuit breaker stands."""
        state = self.states.get(deployment.name)
        return state.breaker if state else Breaker.CLOSED

    def limit(self, lane: Lane, deployment: Deployment) -> int:
        """How many calls of a lane a deployment may have in flight."""
        return deployment.max_in_flight or max(1, self.slots.get(lane, 0) // 2)

    def left(self, lane: Lane, deployment: Deployment) -> int:
        """How many more calls of a lane a deployment may have."""
        return self.left_in((lane,), deployment)

    def left_in(self, lanes: Collection[Lane], deployment: Deployment) -> int:
        """How many more calls of some lanes, taken together, a deployment may have."""
        slots = min(self._left_in_all(), sum(map(self._slots_left, lanes)))
        match self.breaker(deployment):
            case Breaker.OPEN:
                return 0
            case Breaker.HALF_OPEN:
                return min(slots, 1 - self.probes[deployment.name])
            case Breaker.CLOSED:
                return max(0, min(slots, self._allowed(lanes, deployment)))

    def take(self, lane: Lane, deployment: Deployment) -> bool:
        """Use one slot up; False when there is none."""
        if self.left(lane, deployment) <= 0:
            return False
        self.open_calls.add(deployment.name, lane, 1)
        self.probes[deployment.name] += 1
        return True

    def _allowed(self, lanes: Collection[Lane], deployment: Deployment) -> int:
        if deployment.max_in_flight:
            return deployment.max_in_flight - self.open_calls.by_deployment[deployment.name]
        return sum(
            max(0, self.limit(lane, deployment) - self.open_calls.each[deployment.name, lane])
            for lane in lanes
        )

    def _slots_left(self, lane: Lane) -> int:
        return max(0, self.slots.get(lane, 0) - self.open_calls.by_lane[lane])

    def _left_in_all(self) -> int:
        return max(0, self.in_all - self.open_calls.by_lane.total())
