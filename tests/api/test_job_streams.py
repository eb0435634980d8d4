"""Comments keep a stream open while something goes on."""

from __future__ import annotations

import asyncio

import pytest

from api.job_streams import PING, pings
from imagequeue.domain.errors import StillRunning

OFTEN = 0.001


def test_comments_come_until_the_work_is_done() -> None:
    async def follow() -> None:
        done = asyncio.Event()
        seen = 0
        async for ping in pings(done.wait(), OFTEN):
            assert ping == PING
            assert ping.startswith(b":")
            assert ping.endswith(b"\n\n")
            seen += 1
            if seen == 3:
                done.set()
        assert seen >= 3

    asyncio.run(follow())


def test_what_the_work_meets_is_raised_behind_the_comments() -> None:
    async def fail() -> None:
        raise StillRunning

    async def follow() -> None:
        async for _ in pings(fail(), OFTEN):
            pass

    with pytest.raises(StillRunning):
        asyncio.run(follow())


def test_work_that_nobody_waits_for_is_given_up() -> None:
    async def follow() -> None:
        given_up = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()

        following = pings(work(), OFTEN)
        await anext(following)
        await following.aclose()
        assert given_up.is_set()

    asyncio.run(follow())
