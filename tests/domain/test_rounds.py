"""When trying ends."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.backoff import FAILED_CALL
from imagequeue.domain.rounds import RECENT_SECONDS, Rounds

NAMES = st.sampled_from(["a", "b", "c"])
COUNTS = st.dictionaries(NAMES, st.integers(0, 4))
LONG_AGO = RECENT_SECONDS + 1


def test_an_outage_is_outlived_for_two_minutes_even_with_the_shortest_back_offs() -> None:
    class Shortest(Random):
        def random(self) -> float:
            return 0.0

    assert sum(FAILED_CALL.wait_seconds(failures, Shortest()) for failures in range(1, 6)) >= 120  # no secret
    assert FAILED_CALL.wait_seconds(1, Shortest()) <= 2  # likewise


@given(failures=st.integers(1, 100), seed=st.integers())
def test_a_back_off_is_shortened_by_a_quarter_at_most(failures: int, seed: int) -> None:
    seconds = FAILED_CALL.wait_seconds(failures, Random(seed))  # noqa: S311  # no secret
    full = {1: 2, 2: 8, 3: 32}.get(failures, 60)
    assert 0.75 * full <= seconds <= full


def test_a_round_is_complete_when_every_deployment_has_failed_the_job_once_more() -> None:
    rounds = Rounds({}, {"a": 6, "b": 6})
    assert rounds.complete == 0
    assert rounds.after_failure("a").after_failure("a").complete == 0
    assert rounds.after_failure("a").after_failure("b").complete == 1
    assert Rounds({"a": 3, "b": 2, "gone": 9}, {"a": 6, "b": 6}).complete == 2


def test_each_deployment_may_fail_a_job_as_often_as_its_own_entry_says() -> None:
    rounds = Rounds({"a": 1, "b": 2}, {"a": 1, "b": 3})
    assert (rounds.used_up, rounds.left, rounds.are_over()) == ({"a"}, {"b"}, False)
    assert rounds.after_failure("b").are_over()


def test_before_the_end_a_deployment_that_failed_a_while_ago_is_asked_once_more() -> None:
    rounds = Rounds({"a": 6, "b": 5}, {"a": 6, "b": 6}, {"a": LONG_AGO}).after_failure("b")
    assert (rounds.to_repeat, rounds.are_over()) == ({"a"}, False)
    last = rounds.after_failure("a")
    assert (last.to_repeat, last.are_over()) == (frozenset(), True)
    slow = Rounds({"a": 7, "b": 6}, {"a": 6, "b": 6}, {"a": 0.0, "b": LONG_AGO})
    assert slow.to_repeat == {"b"}
    assert Rounds(slow.after_failure("b").failures, slow.allowed, {"a": LONG_AGO, "b": 0.0}).are_over()


def test_a_deployment_that_left_the_catalog_keeps_no_job_waiting_and_ends_none() -> None:
    assert Rounds({"gone": 1, "a": 6}, {"a": 6}).are_over()
    assert not Rounds({"gone": 9}, {"a": 6}).are_over()
    assert not Rounds({"gone": 9}, {}).are_over()


@pytest.mark.parametrize(("failures", "over"), [({"a": 6}, True), ({"a": 5}, False), ({}, False)])
def test_one_that_is_out_keeps_no_job_waiting_that_all_others_have_failed(
    failures: dict[str, int], *, over: bool
) -> None:
    assert Rounds(failures, {"a": 6, "b": 6}).are_over(out={"b"}) is over


@given(failures=COUNTS, allowed=st.dictionaries(NAMES, st.integers(1, 4), min_size=1), ages=st.floats(0, 100))
def test_trying_goes_on_while_a_deployment_is_left_and_ends_after_one_more_call_to_each(
    failures: dict[str, int], allowed: dict[str, int], ages: float
) -> None:
    rounds = Rounds(failures, allowed, dict.fromkeys(failures, ages))
    assert not (rounds.left and rounds.are_over())
    for name, most in allowed.items():
        for _ in range(most + 1 - failures.get(name, 0)):
            assert not (rounds.left and rounds.are_over())
            rounds = rounds.after_failure(name)
    assert rounds.are_over()
