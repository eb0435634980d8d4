"""What one account may hold at a time, and that it gets it back however its requests end."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from functools import partial
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI, Request
from starlette.types import Message, Scope

from api.bulkhead import Bulkhead
from api.call_threads import CallThreads
from api.shares import (
    LEAST_REQUESTS,
    READS,
    HeldShares,
    Share,
    Shares,
    hold,
    serve_account,
    shares_of,
)
from imagequeue.domain.errors import ServiceUnavailable, TooManyRequests

ONE, OTHER = uuid4(), uuid4()


async def nothing() -> Message:
    return {"type": "http.disconnect"}


async def ignored(message: Message) -> None:
    del message


def served(
    shares: Shares, account_id: UUID, then: asyncio.Future[None], holds: asyncio.Event
) -> asyncio.Task[None]:
    """A request of an account that reads results, and ends as `then` does; `holds`: it has its shares."""
    app = FastAPI()
    app.state.shares = shares

    async def route(scope: Scope, receive: object, send: object) -> None:
        del receive, send
        request = Request({**scope, "app": app})
        serve_account(request, account_id)
        serve_account(request, account_id)
        hold(request, shares_of(request).reads)
        holds.set()
        await then

    serving = HeldShares(route)({"type": "http", "headers": []}, nothing, ignored)
    return asyncio.create_task(serving, context=copy_context())


def test_over_its_share_an_account_is_refused_by_the_name_of_it_and_no_other_account_is() -> None:
    share = Share("lists", 2)
    with share.held(ONE), share.held(ONE):
        with pytest.raises(TooManyRequests, match="2 lists") as refused, share.held(ONE):
            pytest.fail("three of two")
        assert refused.value.retry_after > 0
        with share.held(OTHER), share.held(None), share.held(None), share.held(None):
            assert (share.count(ONE), share.count(OTHER)) == (2, 1)
    assert (share.count(ONE), share.count(OTHER)) == (0, 0)
    with share.held(ONE):
        assert share.count(ONE) == 1


@pytest.mark.parametrize("end", ["answer", "error", "cancel"])
def test_what_a_request_holds_is_given_back_however_it_ends(end: str) -> None:
    async def run() -> None:
        shares, then, holds = Shares(64), asyncio.get_running_loop().create_future(), asyncio.Event()
        task = served(shares, ONE, then, holds)
        await holds.wait()
        assert (shares.requests.count(ONE), shares.reads.count(ONE)) == (1, 1)
        if end == "answer":
            then.set_result(None)
        elif end == "error":
            then.set_exception(ConnectionResetError())
        else:
            task.cancel()
        await asyncio.wait({task})
        assert (shares.requests.count(ONE), shares.reads.count(ONE)) == (0, 0)
        assert task.cancelled() == (end == "cancel")
        assert end != "error" or isinstance(task.exception(), ConnectionResetError)

    asyncio.run(run())


def test_a_request_that_is_refused_for_one_share_gives_back_the_others() -> None:
    async def run() -> None:
        shares, then = Shares(1024), asyncio.get_running_loop().create_future()
        tasks = [served(shares, ONE, then, asyncio.Event()) for _ in range(READS + 1)]
        (refused,) = (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0]
        assert isinstance(refused.exception(), TooManyRequests)
        assert (shares.requests.count(ONE), shares.reads.count(ONE)) == (READS, READS)
        then.set_result(None)
        await asyncio.wait(tasks)
        assert shares.requests.count(ONE) == 0

    asyncio.run(run())


def test_the_requests_of_one_account_leave_half_of_the_connections_to_others() -> None:
    assert Shares(8192).requests.most == 4096
    assert Shares(1).requests.most == LEAST_REQUESTS


class Held:
    """Work that ends when it is let, in threads of which an account has half."""

    def __init__(self, threads: int, patience: float = 120.0) -> None:
        self.bulkhead = Bulkhead(CallThreads("test", threads, patience), "lists")
        self.begun: list[str] = []
        self.go = threading.Event()
        self.started = threading.Semaphore(0)
        self.called = asyncio.Semaphore(0)
        self._shares = Shares(1024)

    def call(self, name: str, account_id: UUID | None) -> asyncio.Task[None]:
        """Call as a request of the account does; None: of a request without a key."""
        work = partial(self._work, name)

        async def route(scope: Scope, receive: object, send: object) -> None:
            del receive, send
            app = FastAPI()
            app.state.shares = self._shares
            if account_id is not None:
                serve_account(Request({**scope, "app": app}), account_id)
            self.called.release()  # who awaits it goes on when this call stands in line
            await self.bulkhead.call(work)

        serving = HeldShares(route)({"type": "http", "headers": []}, nothing, ignored)
        return asyncio.create_task(serving, context=copy_context())

    def _work(self, name: str) -> None:
        self.begun.append(name)
        self.started.release()
        assert self.go.wait(120)

    async def await_called(self, count: int) -> None:
        for _ in range(count):
            await self.called.acquire()

    async def await_started(self, count: int) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.started.acquire, timeout=120)


def test_one_account_gets_half_of_the_threads_and_another_one_finds_one_free() -> None:
    async def run() -> list[str]:
        held = Held(4)
        calls = [held.call("one", ONE) for _ in range(16)]
        await held.await_started(2)
        calls.append(held.call("other", OTHER))
        await held.await_started(1)
        begun = list(held.begun)
        held.go.set()
        await asyncio.gather(*calls)
        held.bulkhead.close()
        assert len(held.begun) == 17
        return begun

    assert asyncio.run(run()) == ["one", "one", "other"]


def test_of_a_single_thread_accounts_have_one_call_each_before_any_has_its_second() -> None:
    async def run() -> list[str]:
        held = Held(1)
        calls = [held.call("one", ONE) for _ in range(4)]
        await held.await_started(1)
        calls.append(held.call("other", OTHER))
        await held.await_called(5)
        held.go.set()
        await asyncio.gather(*calls)
        held.bulkhead.close()
        return held.begun

    assert asyncio.run(run()) == ["one", "other", "one", "one", "one"]


def test_a_call_that_waits_for_its_account_in_vain_says_whose_share_it_was() -> None:
    async def run() -> BaseException | None:
        held = Held(4, patience=0.3)
        calls = [held.call("one", ONE) for _ in range(2)]
        await held.await_started(2)
        late = held.call("one", ONE)
        await asyncio.wait({late})
        held.go.set()
        ended = await asyncio.gather(*calls, return_exceptions=True)  # their patience is as short
        assert all(one is None or isinstance(one, ServiceUnavailable) for one in ended)
        held.bulkhead.close()
        assert held.begun == ["one", "one"]
        return late.exception()

    refused = asyncio.run(run())
    assert isinstance(refused, ServiceUnavailable)
    assert "2 lists" in refused.message


def test_calls_that_are_given_up_in_line_take_nothing_with_them() -> None:
    async def run() -> None:
        held = Held(2)
        first = held.call("one", ONE), held.call("other", OTHER)
        await held.await_started(2)
        given_up = [held.call("one", ONE), held.call("third", uuid4()), held.call("nobody", None)]
        await held.await_called(5)
        for call in given_up:
            call.cancel()
        await asyncio.wait(given_up)
        held.go.set()
        await asyncio.gather(*first)
        await asyncio.gather(*(held.call(name, account) for name, account in (("one", ONE), ("more", None))))
        held.bulkhead.close()
        assert sorted(held.begun) == ["more", "one", "one", "other"]

    asyncio.run(run())
