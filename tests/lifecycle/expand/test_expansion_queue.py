"""Accounts share the expander's time, and the flows of one account take turns, also from pass to pass."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from imagequeue.domain.batches import BatchState
from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.expand.expansion_queue import ExpansionQueue
from imagequeue.store.batches.expansion import ExpandableFlow


def flow(number: int, account_id: UUID) -> ExpandableFlow:
    return ExpandableFlow(
        number, "model", "generate/auto/1/png/0/4000", 1, new_id(), account_id, BatchState.IN_PROGRESS,
        frozenset(),
    )  # fmt: skip


def turns(
    queue: ExpansionQueue, flows: Sequence[ExpandableFlow], count: int, *, seconds: float = 1.0
) -> list[int]:
    """Begin a pass that ends after so many turns, and have each flow stay due: whose turns they were."""
    queue.begin(flows)
    taken = list[int]()
    while len(taken) < count and (first := queue.first()) is not None:
        taken.append(first.id)
        queue.took(seconds, is_due=True)
    return taken


def test_an_account_waits_for_one_flow_of_another_one_and_not_for_all() -> None:
    many, one = new_id(), new_id()
    flows = [*(flow(number, many) for number in range(1, 6)), flow(6, one)]
    taken = turns(ExpansionQueue(), flows, 10)
    assert taken.count(6) == 5
    assert 6 in taken[:2]
    assert sorted(set(taken)) == [1, 2, 3, 4, 5, 6]


def test_a_pass_that_ends_early_is_followed_by_one_that_begins_with_the_others() -> None:
    queue, flows = ExpansionQueue(), [flow(number, account) for number, account in enumerate([new_id()] * 3)]
    passes = [turns(queue, flows, 1) for _ in range(4)]
    assert passes == [[0], [1], [2], [0]]
    strangers = [flow(7, new_id()), flow(8, new_id())]
    assert {*turns(queue, strangers, 1), *turns(queue, strangers, 1)} == {7, 8}


def test_an_account_whose_turns_are_long_has_fewer_of_them() -> None:
    queue, slow, fast = ExpansionQueue(), new_id(), new_id()
    queue.begin([flow(1, slow), flow(2, fast)])
    taken = list[int]()
    for _ in range(11):
        first = queue.first()
        assert first is not None
        taken.append(first.id)
        queue.took(10.0 if first.id == 1 else 1.0, is_due=True)
    assert taken.count(1) in {1, 2}


def test_what_is_left_when_a_pass_ends_is_known_by_its_batches() -> None:
    account_id = new_id()
    queue, flows = ExpansionQueue(), [flow(1, account_id), flow(2, account_id), flow(3, new_id())]
    queue.begin(flows)
    first = queue.first()
    assert first is not None
    queue.took(1.0, is_due=False)
    assert queue.left() == {one.batch_id for one in flows} - {first.batch_id}
    for _ in range(2):
        queue.took(1.0, is_due=False)
    assert (queue.first(), queue.left()) == (None, set())
