"""Groups of several accounts: a locked account waits alone; nothing is done after a caller was told 503."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.account_coalescer import AccountCoalescer, CallGroup
from api.call_threads import CallThreads
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.domain.ids import new_id
from imagequeue.store.database import LockTimeout

Item = tuple[UUID, int]
LOCKED, FREE, ALSO_LOCKED = (new_id() for _ in range(3))


@dataclass
class Bulk:
    """Records its groups, and doubles numbers; `locked` accounts are so; 13 is refused by the database."""

    locked: set[UUID] = field(default_factory=set[UUID])
    groups: list[set[UUID]] = field(default_factory=list[set[UUID]])

    def __call__(self, group: CallGroup[Item]) -> Sequence[int | Exception]:
        accounts = {account_id for account_id, _ in group.items}
        self.groups.append(accounts)
        if accounts & self.locked:
            raise LockTimeout
        if any(number == 13 for _, number in group.items):
            raise DataError("INSERT", {}, Exception("poison"))
        if any(number == 99 for _, number in group.items):
            raise PoolTimeout if len(group.items) == 1 else LockTimeout
        return [number * 2 for _, number in group.items]


def coalescer(bulk: Bulk, patience: float = 5.0) -> AccountCoalescer[Item, int]:
    return AccountCoalescer(
        bulk, lambda item: item[0], CallThreads("test", 2, patience), CallThreads("patient", 1, patience)
    )


async def results(calls: AccountCoalescer[Item, int], *items: Item) -> list[int | BaseException]:
    return await asyncio.gather(*[calls.call(item) for item in items], return_exceptions=True)


def test_the_other_accounts_of_a_group_are_answered_while_one_is_locked() -> None:
    bulk = Bulk({LOCKED})

    async def run() -> None:
        calls = coalescer(bulk)
        waiting = asyncio.create_task(calls.call((LOCKED, 1)))
        assert await results(calls, (FREE, 2), (FREE, 3)) == [4, 6]
        assert not waiting.done()
        bulk.locked.clear()
        assert await waiting == 2
        calls.close()

    asyncio.run(run())


def test_an_account_that_was_locked_shares_no_group_until_it_is_free_again() -> None:
    bulk = Bulk({LOCKED})

    async def run() -> None:
        calls = coalescer(bulk, patience=2.0)
        assert isinstance((await results(calls, (LOCKED, 1)))[0], ServiceUnavailable)
        bulk.groups.clear()
        await results(calls, (LOCKED, 1), (FREE, 2))
        assert {LOCKED, FREE} not in bulk.groups
        bulk.locked.clear()
        assert await results(calls, (LOCKED, 1)) == [2]
        bulk.groups.clear()
        assert await results(calls, (LOCKED, 1), (FREE, 2)) == [2, 4]
        assert bulk.groups == [{LOCKED, FREE}]
        calls.close()

    asyncio.run(run())


def test_of_several_locked_accounts_the_one_that_is_freed_is_served() -> None:
    bulk = Bulk({LOCKED, ALSO_LOCKED})

    async def run() -> None:
        calls = coalescer(bulk)
        first = asyncio.create_task(calls.call((LOCKED, 1)))
        second = asyncio.create_task(calls.call((ALSO_LOCKED, 2)))
        assert await results(calls, (FREE, 3)) == [6]
        bulk.locked.remove(ALSO_LOCKED)
        assert await second == 4
        assert not first.done()
        bulk.locked.clear()
        assert await first == 2
        calls.close()

    asyncio.run(run())


def test_what_the_database_refuses_or_has_no_connection_for_fails_alone() -> None:
    async def run() -> list[int | BaseException]:
        calls = coalescer(Bulk())
        outcomes = await results(calls, (FREE, 1), (FREE, 13), (LOCKED, 2))
        outcomes += await results(calls, (FREE, 1), (LOCKED, 99))
        calls.close()
        return outcomes

    one, poison, two, three, no_connection = asyncio.run(run())
    assert (one, two, three) == (2, 4, 2)
    assert isinstance(poison, DataError)
    assert isinstance(no_connection, PoolTimeout)


def test_a_caller_that_was_seen_waiting_gets_the_outcome_of_the_commit_however_late_it_comes() -> None:
    seen, committed = threading.Event(), threading.Event()

    def bulk(group: CallGroup[Item]) -> Sequence[int]:
        assert group.waits(0)
        seen.set()
        committed.wait(timeout=120)
        return [7]

    async def run() -> int:
        calls = AccountCoalescer(
            bulk, lambda item: item[0], CallThreads("test", 1, 2.0), CallThreads("patient", 1)
        )
        waiting = asyncio.create_task(calls.call((FREE, 1)))
        assert await asyncio.to_thread(seen.wait, 120)
        done, _ = await asyncio.wait([waiting], timeout=2.2)
        assert not done
        committed.set()
        answer = await waiting
        calls.close()
        return answer

    assert asyncio.run(run()) == 7


def test_a_caller_that_gave_up_is_not_seen_waiting() -> None:
    given_up, seen = threading.Event(), list[bool]()

    def bulk(group: CallGroup[Item]) -> Sequence[int]:
        given_up.wait(timeout=120)
        seen.append(group.waits(0))
        return [0]

    async def run() -> None:
        calls = AccountCoalescer(
            bulk, lambda item: item[0], CallThreads("test", 1, 0.1), CallThreads("patient", 1)
        )
        with pytest.raises(ServiceUnavailable):
            await calls.call((FREE, 1))
        given_up.set()
        await asyncio.to_thread(calls.close)

    asyncio.run(run())
    assert seen == [False]


def test_an_outage_fails_the_whole_group_once() -> None:
    groups: list[int] = []

    def bulk(group: CallGroup[Item]) -> Sequence[int]:
        groups.append(len(group.items))
        raise OperationalError("SELECT", {}, Exception("gone"))

    async def run() -> list[int | BaseException]:
        calls = AccountCoalescer(
            bulk, lambda item: item[0], CallThreads("test", 1), CallThreads("patient", 1)
        )
        outcomes = await results(calls, (FREE, 1), (LOCKED, 2))
        calls.close()
        return outcomes

    assert all(isinstance(outcome, OperationalError) for outcome in asyncio.run(run()))
    assert groups == [2]
