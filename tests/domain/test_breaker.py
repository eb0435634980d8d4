"""What opens the breaker of a deployment: failed calls are evidence, and one account's are not enough."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.breaker import (
    FAILURES,
    REFUSALS,
    FailedCall,
    count_against,
    lone_account,
    remember,
)

A, B, C = (UUID(int=number) for number in (1, 2, 3))
MOST = pytest.mark.parametrize("most", [FAILURES, REFUSALS])


def calls(**counts: int) -> tuple[FailedCall, ...]:
    """So many failed calls with different requests; `unread` are those that found no connection."""
    accounts = {"a": A, "b": B, "c": C, "unread": None}
    return tuple(
        FailedCall(accounts[name], number) for name, count in counts.items() for number in range(count)
    )


def served(*accounts: UUID) -> Callable[[UUID], bool]:
    return lambda account_id: bool(set(accounts) - {account_id})


@MOST
def test_one_account_alone_is_evidence_enough_where_no_other_one_is_served(most: int) -> None:
    assert count_against(calls(a=most - 1), most, served()) < most
    assert count_against(calls(a=most), most, served()) >= most
    assert count_against(calls(a=most), most, served(A)) >= most


@MOST
def test_one_account_is_never_evidence_enough_while_another_one_is_served(most: int) -> None:
    assert count_against(calls(a=most), most, served(B)) < most
    assert count_against(calls(a=REFUSALS, b=1), most, served(A, B, C)) < most


@MOST
def test_several_accounts_are(most: int) -> None:
    assert count_against(calls(a=most // 2 + 1, b=most // 2), most, served(A, B, C)) >= most
    third = most // 3 + 1
    assert count_against(calls(a=third, b=third, c=third), most, served(A, B, C)) >= most


@MOST
def test_no_more_calls_count_than_open_the_breaker(most: int) -> None:
    """The cooldown grows with what counts, and the first one is short."""
    assert count_against(calls(a=REFUSALS, b=REFUSALS, c=REFUSALS), most, served(A, B, C)) == most
    assert count_against(calls(a=REFUSALS, b=most // 2), most, served(A, B)) == most


def test_what_found_no_connection_counts_whoever_called() -> None:
    assert count_against(calls(unread=FAILURES), FAILURES, served(A, B)) >= FAILURES
    assert count_against(calls(a=9, unread=2), FAILURES, served(B)) >= FAILURES


def test_a_request_counts_once_and_no_account_fills_the_memory() -> None:
    known: tuple[FailedCall, ...] = ()
    for number in range(1000):
        known = remember(remember(known, FailedCall(A, number)), FailedCall(A, 0))
    known = remember(known, FailedCall(B, 0))
    assert len(known) == REFUSALS + 1
    assert lone_account(known) is None
    for number in range(1000):
        known = remember(known, FailedCall(UUID(int=number), number))
    assert len(known) < 100  # bounded


EVENTS = st.tuples(st.sampled_from([A, B, C]), st.integers(0, 20), st.sampled_from(["served", "failed"]))


@given(st.lists(EVENTS, max_size=80), st.sampled_from([FAILURES, REFUSALS]))
def test_whatever_happens_a_breaker_that_opens_has_failed_several_accounts_or_serves_nobody_else(
    events: list[tuple[UUID, int, str]], most: int
) -> None:
    known: tuple[FailedCall, ...] = ()
    served_accounts = set[UUID]()
    for account_id, request, outcome in events:
        if outcome == "served":
            known = ()
            served_accounts.add(account_id)
            continue
        known = remember(known, FailedCall(account_id, request))
        if count_against(known, most, served(*served_accounts)) < most:
            continue
        accounts = {call.account_id for call in known}
        alone = len(accounts) == 1
        assert not alone or served_accounts <= accounts
        assert len(known) >= most


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers(0, 50)), max_size=80))
def test_in_a_real_outage_the_breaker_opens_when_two_accounts_have_failed_five_times(
    failed: list[tuple[UUID, int]],
) -> None:
    known: tuple[FailedCall, ...] = ()
    for account_id, request in failed:
        known = remember(known, FailedCall(account_id, request))
    shares = [sum(call.account_id == account_id for call in known) for account_id in (A, B, C)]
    opens = sum(min(share, 3) for share in shares) >= FAILURES
    assert (count_against(known, FAILURES, served(A, B, C)) >= FAILURES) == opens
