"""One timer for all: who ends in time hears nothing, the others are told in their order."""

from __future__ import annotations

import asyncio

from api.deadlines import Deadlines

SECONDS = 0.02


def test_who_waits_too_long_is_told_and_who_has_ended_is_not() -> None:
    async def run() -> list[str]:
        told: asyncio.Queue[str] = asyncio.Queue()
        deadlines = Deadlines(SECONDS, told.put_nowait)
        for name in ("first", "ended", "second"):
            deadlines.add(name)
        deadlines.remove("ended")
        found = [await told.get(), await told.get()]
        deadlines.add("third")
        found.append(await told.get())
        assert told.empty()
        return found

    assert asyncio.run(run()) == ["first", "second", "third"]


def test_everybody_has_all_of_the_time_also_those_who_came_while_others_waited() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        deadlines = Deadlines[int](SECONDS, lambda number: told.put_nowait((number, loop.time())))
        began = list[float]()
        for number in range(5):
            began.append(loop.time())
            deadlines.add(number)
            await asyncio.sleep(SECONDS / 4)
        for expected in range(5):
            number, ended = await told.get()
            assert number == expected
            assert ended >= began[number] + SECONDS

    asyncio.run(run())


def test_who_is_told_may_wait_again() -> None:
    async def run() -> int:
        again = asyncio.Event()
        times = 0

        def expire(name: str) -> None:
            nonlocal times
            times += 1
            again.set() if times == 3 else deadlines.add(name)

        deadlines = Deadlines(SECONDS, expire)
        deadlines.add("patient")
        await again.wait()
        return times

    assert asyncio.run(run()) == 3
