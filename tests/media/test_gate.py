"""The gate and the budget: how many threads are in at a time, and in which order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import pytest

from imagequeue.media.gate import Budget, Gate
from tests.eventually import eventually

PATIENCE_SECONDS = 120


class Visitor:
    """A thread that enters, says so, and stays until it is released."""

    def __init__(self, entering: Callable[[], AbstractContextManager[None]]) -> None:
        self.inside, self.release = threading.Event(), threading.Event()
        self._entering = entering
        self.thread = threading.Thread(target=self._visit)
        self.thread.start()

    def _visit(self) -> None:
        with self._entering():
            self.inside.set()
            self.release.wait(PATIENCE_SECONDS)

    def leave(self) -> None:
        self.release.set()
        self.thread.join(PATIENCE_SECONDS)


def test_gate_lets_its_number_in_and_a_thread_twice() -> None:
    gate = Gate(1)

    @contextmanager
    def twice() -> Generator[None]:
        with gate, gate:
            yield

    holder = Visitor(twice)
    assert holder.inside.wait(PATIENCE_SECONDS)
    waiter = Visitor(lambda: gate)
    assert not waiter.inside.wait(0.1)
    holder.leave()
    assert waiter.inside.wait(PATIENCE_SECONDS)
    waiter.leave()


def test_who_does_not_fit_waits_and_nobody_passes() -> None:
    budget = Budget(10)
    first = Visitor(lambda: budget.of(6))
    assert first.inside.wait(PATIENCE_SECONDS)
    large = Visitor(lambda: budget.of(5))
    eventually(lambda: budget.waiting == 1)
    small = Visitor(lambda: budget.of(1))
    eventually(lambda: budget.waiting == 2)
    assert not small.inside.is_set(), "it would fit, and came later"
    first.leave()
    assert large.inside.wait(PATIENCE_SECONDS)
    assert small.inside.wait(PATIENCE_SECONDS)
    large.leave()
    small.leave()


def test_who_needs_more_than_the_budget_goes_alone() -> None:
    budget = Budget(10)
    with budget.of(1):
        giant = Visitor(lambda: budget.of(1_000))
        eventually(lambda: budget.waiting == 1)
    assert giant.inside.wait(PATIENCE_SECONDS)
    small = Visitor(lambda: budget.of(1))
    eventually(lambda: budget.waiting == 1)
    giant.leave()
    assert small.inside.wait(PATIENCE_SECONDS)
    small.leave()


def test_a_failure_inside_gives_the_weight_back() -> None:
    budget = Budget(10)
    for _ in range(3):
        with pytest.raises(ValueError, match="bad"), budget.of(10):
            raise ValueError("bad")
    with budget.of(10):
        assert budget.waiting == 0
