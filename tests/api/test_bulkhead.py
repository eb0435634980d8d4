"""Slow work in threads of its own: how much runs at a time, who waits, and what happens when it hangs."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest
from sqlalchemy.exc import OperationalError

from api.bulkhead import Bulkhead
from api.call_threads import SLOW_SECONDS, CallThreads
from imagequeue.domain.backoff import BULK_CALLING
from imagequeue.domain.errors import NotFound, ServiceUnavailable


class Work:
    """Work that ends when it is let; remembers what was begun."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.go = threading.Event()
        self.started = threading.Semaphore(0)

    def __call__(self, number: int) -> int:
        self.begun.append(number)
        self.started.release()
        assert self.go.wait(120)
        return number * 2

    async def await_started(self, count: int) -> None:
        """Wait until so many more have begun."""
        for _ in range(count):
            assert await asyncio.to_thread(self.started.acquire, timeout=120)


def test_each_thread_does_one_call_at_a_time_and_the_others_wait_in_line() -> None:
    work = Work()

    async def run() -> None:
        bulkhead = Bulkhead(CallThreads("test", 2))
        calls = [asyncio.create_task(bulkhead.call(partial(work, n))) for n in (1, 2, 3, 4)]
        await work.await_started(2)
        assert sorted(work.begun) == [1, 2]
        work.go.set()
        assert await asyncio.gather(*calls) == [2, 4, 6, 8]
        bulkhead.close()

    asyncio.run(run())
    assert sorted(work.begun) == [1, 2, 3, 4]


def test_what_fails_fails_its_own_caller_and_frees_its_thread() -> None:
    def refuse() -> int:
        raise NotFound

    async def run() -> list[int | BaseException]:
        bulkhead = Bulkhead(CallThreads("test", 1))
        calls = [bulkhead.call(refuse), bulkhead.call(lambda: 1)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        bulkhead.close()
        return results

    refused, served = asyncio.run(run())
    assert isinstance(refused, NotFound)
    assert served == 1


def test_a_call_that_was_given_up_in_line_is_never_begun() -> None:
    work = Work()

    async def run() -> None:
        bulkhead = Bulkhead(CallThreads("test", 1, patience=0.1))
        calls = [asyncio.create_task(bulkhead.call(partial(work, n))) for n in (1, 2)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, ServiceUnavailable) for result in results)
        await work.await_started(1)
        work.go.set()
        bulkhead.close()

    asyncio.run(run())
    assert work.begun == [1]


def test_while_all_threads_hang_new_calls_are_refused_at_once() -> None:
    work, seconds = Work(), 0.0

    async def run() -> None:
        nonlocal seconds
        bulkhead = Bulkhead(CallThreads("test", 1, patience=120.0, now=lambda: seconds))
        first = asyncio.create_task(bulkhead.call(partial(work, 1)))
        await work.await_started(1)
        seconds += 121.0
        with pytest.raises(ServiceUnavailable):
            bulkhead.call(partial(work, 2)).send(None)  # its first step is its last: it waits for nothing
        work.go.set()
        assert await first == 2
        assert await bulkhead.call(partial(work, 3)) == 6
        bulkhead.close()

    asyncio.run(run())
    assert work.begun == [1, 3]


def test_after_an_outage_that_took_long_to_notice_nobody_else_waits_for_it() -> None:
    seconds = 0.0

    def connect() -> None:
        nonlocal seconds
        seconds += 2 * SLOW_SECONDS
        raise OperationalError("SELECT", {}, Exception("timeout"))

    async def run() -> int:
        nonlocal seconds
        bulkhead = Bulkhead(CallThreads("test", 1, now=lambda: seconds))
        with pytest.raises(OperationalError):
            await bulkhead.call(connect)
        with pytest.raises(ServiceUnavailable):
            await bulkhead.call(lambda: 1)
        seconds += BULK_CALLING.first_seconds
        found = await bulkhead.call(lambda: 1)
        bulkhead.close()
        return found

    assert asyncio.run(run()) == 1
