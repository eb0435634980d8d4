"""The grant against a model that counts every window (docs/design/rate-limiting.md, "How it is tested")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.quota import LEASE_SLACK, GroupState, Quota, grant, next_start
from simulator.measure import utilisation

NS = 1_000_000_000
EPSILON = 1e-6


@dataclass(slots=True)
class ModelCall:
    """A granted call: when its body was sent (None: never), and when its token returns."""

    slot: float
    lease: float
    sent: float | None = None
    recorded: bool = True
    given_back: float | None = None

    def returns(self, now: float, cycle: float) -> float:
        """As the database would tell it at `now`."""
        if self.given_back is not None and self.given_back <= now:
            return self.given_back
        if self.sent is not None and self.recorded and self.sent <= now:
            return self.sent + cycle
        return self.lease


@dataclass(slots=True)
class Model:
    """A group, its calls, and the upstream's log of admissions."""

    quota: Quota
    now: float = 1000.0
    calls: list[ModelCall] = field(default_factory=list[ModelCall])
    admitted: list[float] = field(default_factory=list[float])
    last_start: float | None = None
    blocked_until: float | None = None

    def state(self, want: int) -> GroupState:
        """What the store reads."""
        returns = [call.returns(self.now, self.quota.cycle) for call in self.calls]
        out = sorted(moment for moment in returns if moment > self.now)
        opening = out[max(0, len(out) - self.quota.rpm) :][:want]
        free = max(0, self.quota.rpm - len(out))
        return GroupState(self.now, free, opening, self.last_start, self.blocked_until)

    def grant(self, want: int) -> list[ModelCall]:
        """Grant, and take the tokens."""
        slots = grant(self.quota, self.state(want), want)
        new = [ModelCall(slot, slot + self.quota.cycle + LEASE_SLACK) for slot in slots]
        self.calls += new
        if slots:
            self.last_start = max(slots[-1], self.last_start or 0.0)
        return new

    def send(self, call: ModelCall, late: float, way: float, *, recorded: bool = True) -> None:
        """The body is sent `late` seconds after the start, and counted `way` seconds after that."""
        call.sent, call.recorded = call.slot + late, recorded
        self.admitted.append(call.sent + way)


def most_in_a_window(times: Sequence[float], window: float) -> int:
    """The largest number of times in any half-open window."""
    ordered, first, most = sorted(times), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= window - EPSILON:
            first += 1
        most = max(most, last - first + 1)
    return most


quotas = st.builds(
    Quota,
    rpm=st.integers(1, 8),
    window=st.floats(0.5, 60),
    guard=st.floats(0, 2),
    pace=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(quota=quotas, data=st.data())
def test_no_window_at_the_upstream_ever_holds_more_than_r_calls(quota: Quota, data: st.DataObject) -> None:
    model = Model(quota)
    for _ in range(data.draw(st.integers(1, 40))):
        model.now += data.draw(st.sampled_from([0.0, 0.05, 0.25, 1.0, quota.window / 3, quota.cycle]))
        if data.draw(st.integers(0, 9)) == 0:
            model.blocked_until = max(model.blocked_until or 0.0, model.now + data.draw(st.floats(0, 5)))
        for call in model.grant(data.draw(st.integers(0, 12))):
            late = data.draw(st.floats(0, LEASE_SLACK))
            if data.draw(st.integers(0, 7)) == 0:
                call.given_back = call.slot + late
            else:
                way = data.draw(st.sampled_from([0.0, quota.guard / 2, quota.guard]))
                model.send(call, late, way, recorded=data.draw(st.booleans()))
    assert most_in_a_window(model.admitted, quota.window) <= quota.rpm


@settings(max_examples=100, deadline=None)
@given(quota=quotas, seed=st.integers(0, 2**32))
def test_a_saturated_group_is_never_exceeded_over_many_windows(quota: Quota, seed: int) -> None:
    model, random = Model(quota), Random(seed)  # noqa: S311  # a reproducible run, not a secret
    end = model.now + 6 * quota.cycle
    while model.now < end:
        for call in model.grant(20):
            late = random.choice([0.0, random.uniform(0, LEASE_SLACK)])
            model.send(call, late, random.uniform(0, quota.guard), recorded=random.random() < 0.8)
        model.now += random.choice([0.05, 0.25, 1.5])
    assert most_in_a_window(model.admitted, quota.window) <= quota.rpm


@pytest.mark.parametrize("pace", [True, False])
@pytest.mark.parametrize("rpm", [1, 2, 6, 12, 180])
def test_a_saturated_group_uses_what_guard_and_delay_leave(rpm: int, pace: bool) -> None:  # noqa: FBT001
    quota, delay = Quota(rpm, 60, 0.4, pace), 0.02
    model, random = Model(quota), Random(rpm)  # noqa: S311
    end = model.now + 20 * quota.cycle
    while model.now < end:
        for call in model.grant(100):
            model.send(call, delay, random.uniform(0, 0.3))
        model.now += 0.25
        model.calls = [call for call in model.calls if call.returns(model.now, quota.cycle) > model.now - 1]
    times = sorted(round(moment * NS) for moment in model.admitted)
    assert most_in_a_window(model.admitted, quota.window) <= rpm
    used = utilisation(times, rpm, 60 * NS)
    assert used is not None
    assert used >= 60 / (60 + quota.guard + delay) - 0.001
    assert used >= 0.99


def test_random_delays_cost_a_paced_group_little_more_than_their_mean() -> None:
    quota = Quota(12, 60, 0.4)
    model, random = Model(quota), Random(1)  # noqa: S311
    end = model.now + 50 * quota.cycle
    while model.now < end:
        for call in model.grant(100):
            model.send(call, random.uniform(0, 0.05), random.uniform(0, 0.3))
        model.now += 0.25
    used = utilisation(sorted(round(moment * NS) for moment in model.admitted), 12, 60 * NS)
    assert used is not None
    assert used >= 0.99


def test_paced_starts_lie_apart_and_burst_ones_do_not() -> None:
    state = GroupState(now=0, free=4)
    assert grant(Quota(4, 60, 0.4), state, 4, horizon=60) == [0.0, 15.1, 30.2, pytest.approx(45.3)]
    assert grant(Quota(4, 60, 0.4, pace=False), state, 4) == [0, 0, 0, 0]


def test_a_start_beyond_the_horizon_is_not_granted() -> None:
    quota = Quota(1, 60, 0.4)
    assert grant(quota, GroupState(now=0, free=0, returns=[1.1]), 1) == []
    assert grant(quota, GroupState(now=0, free=0, returns=[0.9]), 1) == [0.9]


def test_after_a_block_one_token_goes_first_and_the_others_follow_spaced() -> None:
    quota = Quota(6, 60, 0, pace=False)
    blocked = GroupState(now=100, free=6, last_start=99, blocked_until=100.5)
    assert grant(quota, blocked, 6) == [100.5]
    later = replace(blocked, now=110.5, last_start=100.5, free=5)
    assert grant(quota, later, 6) == [110.5]
    assert next_start(quota, replace(later, last_start=110.5)) == 120.5


def test_a_group_out_of_quota_gets_one_call() -> None:
    state = GroupState(now=100, free=6, blocked_until=100, probing=True)
    assert grant(Quota(6, 60, 0, pace=False), state, 6) == [100]


def test_a_shrunken_group_waits_until_fewer_tokens_are_out() -> None:
    model = Model(Quota(4, 60, 0, pace=False))
    for call in model.grant(4):
        model.send(call, 0, 0)
    model.quota = replace(model.quota, rpm=2)
    model.now += 10
    assert next_start(model.quota, model.state(4)) == model.calls[0].slot + 60
