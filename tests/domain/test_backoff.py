"""The retry table: how its waits grow, and what chance may take away."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain import backoff
from imagequeue.domain.backoff import RetryPolicy

POLICIES = {name: policy for name, policy in vars(backoff).items() if isinstance(policy, RetryPolicy)}


def test_a_wait_doubles_with_every_failure_up_to_the_longest() -> None:
    policy = RetryPolicy(0.5, 10.0)
    assert [policy.full_seconds(failures) for failures in range(1, 8)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_nothing_has_failed_yet_is_the_first_wait() -> None:
    assert RetryPolicy(0.5, 10.0).full_seconds(0) == 0.5


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_can_be_asked_after_any_number_of_failures(name: str) -> None:
    waits = [POLICIES[name].full_seconds(failures) for failures in (1, 2, 10, 1_000, 10**9)]
    assert waits == sorted(waits)
    assert waits[0] == POLICIES[name].first_seconds > 0
    assert waits[-1] <= POLICIES[name].longest_seconds


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.sampled_from(sorted(POLICIES)), st.integers(1, 100), st.randoms(use_true_random=False))
def test_chance_takes_at_most_its_share_and_adds_nothing(name: str, failures: int, random: Random) -> None:
    policy = POLICIES[name]
    full, waited = policy.full_seconds(failures), policy.wait_seconds(failures, random)
    assert full * (1 - policy.jitter) <= waited <= full


def test_those_who_failed_together_come_back_apart() -> None:
    random = Random(1)  # noqa: S311  # not a secret
    assert len({backoff.FAILED_CALL.wait_seconds(1, random) for _ in range(20)}) == 20
