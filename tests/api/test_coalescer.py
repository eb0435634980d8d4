"""Groups: who shares one, who fails alone, and what happens when one hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import DataError, OperationalError

from api.call_threads import CallThreads
from api.coalescer import BESIDE_SECONDS, GATHER_SECONDS, LARGEST_GROUP, Coalescer
from imagequeue.domain.errors import NotFound, ServiceUnavailable
from tests.api.moved_loop import MovedLoop, run_moved

NUMBERS = range(100, 110 + 3 * LARGEST_GROUP)


class Bulk:
    """Records its groups; numbers double, 13 is refused, 99 poisons its whole group."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.away = False

    def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        self.groups.append(items)
        self.started.set()
        self.gate.wait(timeout=120)
        if self.away:
            raise OperationalError("SELECT", {}, Exception("gone"))
        if 99 in items:
            raise DataError("INSERT", {}, Exception("poison"))
        return [NotFound() if item == 13 else item * 2 for item in items]


def test_concurrent_calls_share_groups_and_get_their_own_results() -> None:
    bulk = Bulk()

    async def run() -> list[int]:
        coalescer = Coalescer(bulk, CallThreads("test", 2))
        results = await asyncio.gather(*[coalescer.call(n) for n in NUMBERS])
        coalescer.close()
        return results

    assert asyncio.run(run()) == [n * 2 for n in NUMBERS]
    assert sorted(len(group) for group in bulk.groups) == [10, *[LARGEST_GROUP] * 3]


def test_calls_gather_while_all_threads_are_busy() -> None:
    bulk = Bulk()
    bulk.gate.clear()

    async def run() -> None:
        coalescer = Coalescer(bulk, CallThreads("test", 1))
        first = asyncio.create_task(coalescer.call(1))
        assert await asyncio.to_thread(bulk.started.wait, 120)
        later = [asyncio.create_task(coalescer.call(n)) for n in (2, 3, 4)]
        asyncio.get_running_loop().call_soon(bulk.gate.set)  # after the first step of each, which gathers it
        assert await asyncio.gather(first, *later) == [2, 4, 6, 8]
        coalescer.close()

    asyncio.run(run())
    assert bulk.groups == [[1], [2, 3, 4]]


def test_calls_that_come_while_a_group_is_done_share_the_next_one_although_a_thread_is_free() -> None:
    bulk = Bulk()
    bulk.gate.clear()

    async def test(loop: MovedLoop) -> None:
        coalescer = Coalescer(bulk, CallThreads("test", 2))
        first = asyncio.create_task(coalescer.call(1))
        await loop.move(0.0)
        await loop.move(GATHER_SECONDS)
        assert await asyncio.to_thread(bulk.started.wait, 120)
        second = asyncio.create_task(coalescer.call(2))
        await loop.move(0.0)
        await loop.move(BESIDE_SECONDS * 0.9)
        third = asyncio.create_task(coalescer.call(3))
        loop.call_soon(bulk.gate.set)  # after the first step of `third`
        assert await asyncio.gather(first, second, third) == [2, 4, 6]
        coalescer.close()

    run_moved(test)
    assert bulk.groups == [[1], [2, 3]]


def test_a_group_that_takes_long_delays_no_other_while_a_thread_is_free() -> None:
    bulk = Bulk()
    bulk.gate.clear()

    async def run() -> None:
        coalescer = Coalescer(bulk, CallThreads("test", 2))
        first = asyncio.create_task(coalescer.call(1))
        assert await asyncio.to_thread(bulk.started.wait, 120)
        bulk.started.clear()
        second = asyncio.create_task(coalescer.call(2))
        assert await asyncio.to_thread(bulk.started.wait, 120)
        bulk.gate.set()
        assert await asyncio.gather(first, second) == [2, 4]
        coalescer.close()

    asyncio.run(run())
    assert bulk.groups == [[1], [2]]


def test_a_refusal_or_a_poisonous_item_fails_alone() -> None:
    bulk = Bulk()

    async def run() -> list[int | BaseException]:
        coalescer = Coalescer(bulk, CallThreads("test", 2))
        results = await asyncio.gather(*[coalescer.call(n) for n in (1, 13, 99, 2)], return_exceptions=True)
        coalescer.close()
        return results

    first, refused, poison, last = asyncio.run(run())
    assert (first, last) == (2, 4)
    assert isinstance(refused, NotFound)
    assert isinstance(poison, DataError)


def test_an_outage_fails_the_group_and_is_not_repeated() -> None:
    bulk = Bulk()
    bulk.away = True

    async def run() -> list[int | BaseException]:
        coalescer = Coalescer(bulk, CallThreads("test", 2))
        results = await asyncio.gather(*[coalescer.call(n) for n in (1, 2)], return_exceptions=True)
        bulk.away = False
        assert await coalescer.call(3) == 6
        coalescer.close()
        return results

    assert all(isinstance(result, OperationalError) for result in asyncio.run(run()))
    assert bulk.groups == [[1, 2], [3]]


def test_while_all_threads_hang_new_calls_are_refused_at_once() -> None:
    bulk, seconds = Bulk(), 0.0
    bulk.gate.clear()

    async def run() -> None:
        nonlocal seconds
        coalescer = Coalescer(bulk, CallThreads("test", 1, patience=120.0, now=lambda: seconds))
        first = asyncio.create_task(coalescer.call(1))
        assert await asyncio.to_thread(bulk.started.wait, 120)
        seconds += 121.0
        with pytest.raises(ServiceUnavailable):
            coalescer.call(2).send(None)  # its first step is its last: it waits for nothing
        bulk.gate.set()
        assert await first == 2
        assert await coalescer.call(3) == 6
        coalescer.close()

    asyncio.run(run())
    assert bulk.groups == [[1], [3]]


def test_a_call_that_was_given_up_before_its_group_began_is_never_made() -> None:
    bulk = Bulk()
    bulk.gate.clear()

    async def run() -> None:
        coalescer = Coalescer(bulk, CallThreads("test", 1, patience=2.0, now=lambda: 0.0))
        first = asyncio.create_task(coalescer.call(1))
        assert await asyncio.to_thread(bulk.started.wait, 120)
        second = asyncio.create_task(coalescer.call(2))
        results = await asyncio.gather(first, second, return_exceptions=True)
        assert all(isinstance(result, ServiceUnavailable) for result in results)
        third = asyncio.create_task(coalescer.call(3))
        asyncio.get_running_loop().call_soon(bulk.gate.set)  # after the first step of `third`
        assert await third == 6
        coalescer.close()

    asyncio.run(run())
    assert bulk.groups == [[1], [3]]


def test_who_waits_behind_a_whole_group_that_was_given_up_is_served() -> None:
    bulk = Bulk()

    async def run() -> int:
        coalescer = Coalescer(bulk, CallThreads("test", 1))
        leaving = [asyncio.create_task(coalescer.call(n)) for n in range(LARGEST_GROUP)]
        last = asyncio.create_task(coalescer.call(1000))
        for task in leaving:
            asyncio.get_running_loop().call_soon(task.cancel)  # after its first step, and that of `last`
        result = await last
        coalescer.close()
        return result

    assert asyncio.run(run()) == 2000
    assert bulk.groups == [[1000]]
