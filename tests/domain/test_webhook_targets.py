"""What a delivery attempt changes of its target."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.webhook_targets import (
    FAILURES,
    FIRST_LIMIT,
    MOST_LIMIT,
    AttemptEffect,
    TargetState,
    after_attempt,
    is_news,
)
from imagequeue.domain.webhooks import judge_failure, judge_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class LongestWaits(Random):
    """Chance that takes nothing from a wait."""

    def random(self) -> float:
        return 1.0


def answered(status: int, seconds: float = 0.1, hint: str | None = None, at: datetime = NOW) -> AttemptEffect:
    return AttemptEffect(judge_status(status, hint, at), seconds, answered=True, now=at)


def timed_out(at: datetime = NOW) -> AttemptEffect:
    return AttemptEffect(judge_failure("timeout"), 15.0, answered=False, now=at)


def after(state: TargetState, *effects: AttemptEffect) -> TargetState:
    for effect in effects:
        state = after_attempt(state, effect, LongestWaits())
    return state


def test_a_quick_target_gets_one_more_place_after_as_many_deliveries_as_it_has() -> None:
    state = after(TargetState(), *[answered(200)] * (FIRST_LIMIT - 1))
    assert state.limit == FIRST_LIMIT
    assert after(state, answered(200)).limit == FIRST_LIMIT + 1
    assert after(state, *[answered(200)] * 500).limit == MOST_LIMIT


def test_a_slow_answer_and_a_failure_halve_the_places_and_leave_one() -> None:
    assert after(TargetState(limit=16), answered(200, 5.1)).limit == 8
    assert after(TargetState(limit=16), answered(200, 4.9)).limit == 16
    assert after(TargetState(limit=16), answered(404, 5.1)).limit == 8
    assert after(TargetState(limit=5), timed_out()).limit == 2
    assert after(TargetState(limit=1), timed_out()).limit == 1


def test_five_failures_in_a_row_open_the_breaker_for_30_seconds() -> None:
    state = after(TargetState(), *[timed_out()] * (FAILURES - 1))
    assert (state.open_until, state.half_open) == (None, False)
    state = after(state, timed_out())
    assert (state.open_until, state.half_open) == (NOW + timedelta(seconds=30), True)


def test_a_failed_probe_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    state, now, waits = after(TargetState(), *[timed_out()] * FAILURES), NOW, list[float]()
    for _ in range(7):
        assert state.open_until is not None
        waits.append((state.open_until - now).total_seconds())
        now = state.open_until
        state = after(state, timed_out(now))
    assert waits == [30, 60, 120, 240, 480, 900, 900]


def test_failures_that_were_in_flight_when_it_opened_do_not_open_it_for_longer() -> None:
    opened = after(TargetState(), *[timed_out()] * FAILURES)
    later = after(opened, timed_out(NOW + timedelta(seconds=3)))
    assert (later.failures, later.open_until) == (opened.failures, opened.open_until)


def test_a_success_closes_it() -> None:
    state = after(TargetState(), *[timed_out()] * FAILURES, answered(200))
    assert (state.failures, state.open_until, state.half_open) == (0, None, False)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 422])
def test_an_answer_of_a_live_server_counts_for_nothing(status: int) -> None:
    state = after(TargetState(failures=3), answered(status))
    assert (state.failures, state.limit, state.open_until) == (3, FIRST_LIMIT, None)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_of_a_server_in_trouble_counts(status: int) -> None:
    assert after(TargetState(failures=3), answered(status)).failures == 4


@pytest.mark.parametrize("status", [429, 503])
def test_a_hint_pauses_the_target_and_a_shorter_one_does_not_end_the_pause(status: int) -> None:
    state = after(TargetState(), answered(status, hint="60"), answered(status, hint="5"))
    assert state.paused_until == NOW + timedelta(seconds=60)
    assert after(state, answered(200)).paused_until == state.paused_until


def test_a_target_is_in_trouble_while_it_failed_last_or_is_slow() -> None:
    assert not TargetState().troubled
    assert not TargetState().proven
    assert after(TargetState(), answered(200)).proven
    assert after(TargetState(), timed_out()).troubled
    assert after(TargetState(), answered(200, 1.5)).troubled
    assert not after(TargetState(), answered(200, 1.5), *[answered(200)] * 5).troubled


def test_only_what_changes_a_decision_is_written() -> None:
    busy = after(TargetState(), *[answered(200)] * 500)
    assert not is_news(busy, after(busy, answered(200)), answered(200))
    for effect in (answered(200, 1.5), timed_out(), answered(503, hint="9"), answered(500)):
        assert is_news(busy, after(busy, effect), effect)
    fresh = TargetState()
    assert is_news(fresh, after(fresh, answered(200)), answered(200))
    failing = replace(busy, failures=1)
    assert is_news(failing, after(failing, answered(200)), answered(200))


EFFECTS = st.builds(
    answered, st.sampled_from([200, 204, 301, 404, 410, 429, 500, 503]), st.floats(0, 15), st.none()
) | st.just(timed_out())


@given(st.lists(EFFECTS, max_size=60))
def test_whatever_happens_the_limit_is_in_its_bounds_and_an_open_breaker_has_its_reason(
    effects: list[AttemptEffect],
) -> None:
    state = after(TargetState(), *effects)
    assert 1 <= state.limit <= MOST_LIMIT
    assert (state.open_until is not None) == (state.failures >= FAILURES)
