"""Calls of threads share a bulk call when they come while another one runs; each gets its own result."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from imagequeue.coalescing import ThreadCoalescer
from tests.eventually import eventually


class Doubling:
    """A bulk call that stands still while `open` is not set, and refuses groups with a negative number."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.began, self.open = threading.Semaphore(0), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append(list(numbers))
        self.began.release()
        assert self.open.wait(60)
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]


def test_a_call_that_comes_alone_is_made_alone() -> None:
    doubling = Doubling()
    doubling.open.set()
    coalescer = ThreadCoalescer(doubling, most=10)
    assert [coalescer.call(number) for number in range(3)] == [0, 2, 4]
    assert doubling.groups == [[0], [1], [2]]


def test_calls_that_come_while_one_runs_are_made_together_as_many_as_may_be() -> None:
    doubling = Doubling()
    coalescer = ThreadCoalescer(doubling, most=4)
    with ThreadPoolExecutor(7) as pool:
        results = [pool.submit(coalescer.call, 0)]
        assert doubling.began.acquire(timeout=60)
        results += [pool.submit(coalescer.call, number) for number in range(1, 7)]
        eventually(lambda: len(coalescer) == 6)
        doubling.open.set()
        assert [result.result(60) for result in results] == [0, 2, 4, 6, 8, 10, 12]
    assert list(map(len, doubling.groups)) == [1, 4, 2]


def test_who_shares_a_call_that_fails_is_told_and_the_next_ones_go_on() -> None:
    doubling = Doubling()
    coalescer = ThreadCoalescer(doubling, most=2)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(coalescer.call, 1)
        assert doubling.began.acquire(timeout=60)
        pair = list[Future[int]]()
        for count, number in enumerate((-1, 2), start=1):
            pair.append(pool.submit(coalescer.call, number))
            eventually(lambda count=count: len(coalescer) == count)
        last = pool.submit(coalescer.call, 3)
        eventually(lambda: len(coalescer) == 3)
        doubling.open.set()
        assert first.result(60) == 2
        for one in pair:
            with pytest.raises(ValueError, match="negative"):
                one.result(60)
        assert last.result(60) == 6


def test_no_result_is_lost_or_mixed_up_among_many_threads() -> None:
    doubling = Doubling()
    doubling.open.set()
    coalescer = ThreadCoalescer(doubling, most=8)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(coalescer.call, range(2000))) == [2 * number for number in range(2000)]
    assert sorted(number for group in doubling.groups for number in group) == list(range(2000))
