"""Who goes next."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.fairness import FairQueue, Flow, pools
from imagequeue.domain.jobs import Lane


def flow(number: int, account: int, lane: Lane = Lane.INTERACTIVE, weight: int = 1) -> Flow:
    return Flow(number, "model", "generate", UUID(int=account), lane, weight)


def planned(queue: FairQueue, flows: list[Flow], grants: int) -> list[Flow]:
    """Who would take so many grants, if every flow had jobs enough."""
    turns, order = queue.plan(flows), list[Flow]()
    while len(order) < grants and (first := turns.first()):
        turns.took(first, 1)
        order.append(first)
    return order


def served(queue: FairQueue, flows: list[Flow], grants: int, at_once: int = 1) -> list[Flow]:
    """Plan and charge so many grants, as the claim does."""
    taken = list[Flow]()
    waits = any(one.lane is Lane.BACKFILL for one in flows)
    while len(taken) < grants:
        for one in planned(queue, flows, min(at_once, grants - len(taken))):
            queue.took(one, backfill_waits=waits)
            taken.append(one)
    return taken


@settings(deadline=None)  # other work on the machine is not a fault
@given(accounts=st.integers(1, 20), at_once=st.integers(1, 30), data=st.data())
def test_equal_accounts_get_equal_shares_however_many_flows_they_have(
    accounts: int, at_once: int, data: st.DataObject
) -> None:
    flows = [
        flow(account * 100 + number, account)
        for account in range(accounts)
        for number in range(data.draw(st.integers(1, 4)))
    ]
    shares = Counter(one.account_id for one in served(FairQueue(), flows, 20 * accounts, at_once))
    assert max(shares.values()) <= 1.2 * min(shares.values())


@pytest.mark.parametrize("burst", [True, False])
def test_equal_accounts_get_equal_shares_of_many_small_quotas(*, burst: bool) -> None:
    """Five groups of 12 calls a minute, 20 accounts: a share is the sum over the groups."""
    groups, rpm = [f"group {number}" for number in range(5)], 12
    pool_of = pools((group, "model") for group in groups)
    queues = {pool: FairQueue() for pool in pool_of.values()}
    flows = [flow(account, account) for account in range(20)]
    starts = sorted(groups * rpm) if burst else groups * rpm
    for _ in range(3):
        shares = Counter(one.id for group in starts for one in served(queues[pool_of[group]], flows, 1))
        assert len(shares) == 20
        assert max(shares.values()) <= 1.2 * min(shares.values())


@pytest.mark.parametrize("slow_every", [2, 6, 10, 21, 50])
def test_who_can_be_served_in_one_place_only_goes_before_those_who_are_served_elsewhere(
    slow_every: int,
) -> None:
    """One call of so many is at a slow group, and one account has nothing but that.

    Its share is as large as the others', as far as the slow group's few starts allow; of that group alone it
    would be a 21st.
    """
    queue = FairQueue()
    everywhere, here = [flow(account, account) for account in range(20)], flow(20, 20)
    shares, slow = Counter[int](), 200
    for _ in range(slow):
        shares.update(one.id for one in served(queue, everywhere, slow_every - 1))
        shares.update(one.id for one in served(queue, [*everywhere, here], 1))
    fair = min(slow, slow * slow_every / 21)
    assert shares[20] >= fair / 1.5


def test_those_who_can_be_served_in_one_place_only_share_it() -> None:
    queue, elsewhere = FairQueue(), flow(0, 0)
    here = [flow(account, account) for account in range(1, 4)]
    shares = Counter[int]()
    for _ in range(60):
        served(queue, [elsewhere], 7)
        shares.update(one.id for one in served(queue, here, 1))
    assert shares == {1: 20, 2: 20, 3: 20}


def test_a_pool_is_the_groups_that_serve_the_same_models() -> None:
    assert pools([("east", "a"), ("west", "a"), ("far", "b")]) == {
        "east": frozenset({"east", "west"}),
        "west": frozenset({"east", "west"}),
        "far": frozenset({"far"}),
    }
    chained = pools([("east", "a"), ("far", "c"), ("west", "b"), ("east", "b"), ("far", "b")])
    assert set(chained.values()) == {frozenset({"east", "west", "far"})}
    assert pools([]) == {}


def test_weights_are_kept() -> None:
    flows = [flow(1, 1, weight=3), flow(2, 2, weight=1)]
    shares = Counter(one.id for one in served(FairQueue(), flows, 400, at_once=7))
    assert shares[1] / shares[2] == pytest.approx(3, rel=0.02)


def test_flows_of_an_account_take_turns() -> None:
    shares = Counter(one.id for one in served(FairQueue(), [flow(1, 1), flow(2, 1), flow(3, 2)], 120))
    assert shares == {1: 30, 2: 30, 3: 60}


def of_batch(number: int, batch: int | None, weight: int = 1) -> Flow:
    """A flow of one of account 1's batches; None: of its single jobs."""
    batch_id = None if batch is None else UUID(int=batch)
    single = flow(number, 1, Lane.BACKFILL)
    return replace(single, batch_id=batch_id, batch_weight=weight)


@settings(deadline=None)  # other work on the machine is not a fault
@given(
    weights=st.lists(st.integers(1, 8), min_size=1, max_size=4), at_once=st.integers(1, 20), data=st.data()
)
def test_batches_of_an_account_and_its_single_jobs_as_one_take_turns_by_weight(
    weights: list[int], at_once: int, data: st.DataObject
) -> None:
    flows = [
        of_batch(batch * 100 + number, batch, weight)
        for batch, weight in enumerate(weights)
        for number in range(data.draw(st.integers(1, 3)))
    ]
    flows += [of_batch(1000 + number, None) for number in range(data.draw(st.integers(1, 3)))]
    turns = 40
    taken = served(FairQueue(), flows, turns * (sum(weights) + 1), at_once)
    shares = Counter(one.batch_id for one in taken)
    expected = {UUID(int=batch): turns * weight for batch, weight in enumerate(weights)} | {None: turns}
    assert {batch: pytest.approx(share, abs=max(weights) + 1) for batch, share in expected.items()} == shares


def test_flows_of_a_batch_take_turns_alike() -> None:
    flows = [of_batch(1, 1, 5), of_batch(2, 1, 5), of_batch(3, 2, 5)]
    assert Counter(one.id for one in served(FairQueue(), flows, 120)) == {1: 30, 2: 30, 3: 60}


def test_interactive_jobs_between_them_leave_the_weights_of_batches_as_they_are() -> None:
    flows = [of_batch(1, 1, 4), of_batch(2, 2), flow(3, 1)]
    shares = Counter(one.id for one in served(FairQueue(), flows, 1000))
    assert shares == {1: 80, 2: 20, 3: 900}


def test_another_weight_counts_from_the_next_turn_on() -> None:
    queue = FairQueue()
    served(queue, [of_batch(1, 1), of_batch(2, 2, 9)], 100)
    shares = Counter(one.id for one in served(queue, [of_batch(1, 1, 9), of_batch(2, 2)], 100))
    assert shares[1] == pytest.approx(90, abs=2)


def test_who_was_away_neither_saved_grants_nor_owes_any() -> None:
    queue = FairQueue()
    served(queue, [flow(1, 1)], 1000)
    shares = Counter(one.id for one in served(queue, [flow(1, 1), flow(2, 2)], 100))
    assert shares[1] == pytest.approx(50, abs=1)


def test_backfill_gets_every_tenth_grant() -> None:
    flows = [flow(1, 1), flow(2, 2, Lane.BACKFILL)]
    lanes = [one.lane for one in served(FairQueue(), flows, 100, at_once=3)]
    assert lanes.count(Lane.BACKFILL) == 10


def test_one_interactive_job_meets_a_backfill_and_gets_the_next_grant() -> None:
    queue, backfill = FairQueue(), flow(1, 1, Lane.BACKFILL)
    served(queue, [backfill], 500)
    for number in range(2, 50):
        (one,) = planned(queue, [backfill, flow(number, 2)], 1)
        assert one.lane is Lane.INTERACTIVE
        queue.took(one, backfill_waits=True)
        served(queue, [backfill], 3)


def test_a_plan_charges_nobody() -> None:
    queue, flows = FairQueue(), [flow(1, 1), flow(2, 2)]
    assert planned(queue, flows, 5) == planned(queue, flows, 5)
    assert planned(queue, [], 5) == []


def test_memory_does_not_grow_with_the_accounts_that_came_and_went() -> None:
    queue = FairQueue()
    for number in range(50_000):
        queue.took(flow(number, number))
    assert len(queue.flows) <= 10_000
    assert len(queue.accounts[Lane.INTERACTIVE].tags) <= 10_000


def calls_made(work: Callable[[], object]) -> int:
    """How many functions `work` calls: what it costs on any machine, however busy."""
    made = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return made


def test_a_plan_costs_one_look_at_each_flow_and_little_for_each_grant() -> None:
    queue, flows = FairQueue(), [flow(number, number) for number in range(1000)]
    first = calls_made(lambda: planned(queue, flows, 1))
    assert first < 20 * len(flows)
    assert calls_made(lambda: planned(queue, flows, 101)) - first < 20 * 100
