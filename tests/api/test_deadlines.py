"""One timer for all: who ends in time hears nothing, the others are told in their order."""

from __future__ import annotations

from api.deadlines import Deadlines
from tests.api.moved_loop import MovedLoop, run_moved

SECONDS = 5.0


def test_who_waits_too_long_is_told_and_who_has_ended_is_not() -> None:
    async def test(loop: MovedLoop) -> None:
        told = list[str]()
        deadlines = Deadlines(SECONDS, told.append)
        for name in ("first", "ended", "second"):
            deadlines.add(name)
        deadlines.remove("ended")
        await loop.move(SECONDS - 0.1)
        assert told == []
        await loop.move(0.1)
        assert told == ["first", "second"]
        deadlines.add("third")
        await loop.move(SECONDS)
        assert told == ["first", "second", "third"]

    run_moved(test)


def test_everybody_has_all_of_the_time_also_those_who_came_while_others_waited() -> None:
    async def test(loop: MovedLoop) -> None:
        told = list[tuple[int, float]]()
        deadlines = Deadlines[int](SECONDS, lambda number: told.append((number, loop.time())))
        for number in range(5):
            deadlines.add(number)
            await loop.move(1.0)
        for _ in range(5):
            await loop.move(1.0)
        assert told == [(number, number + SECONDS) for number in range(5)]

    run_moved(test)


def test_who_is_told_may_wait_again() -> None:
    async def test(loop: MovedLoop) -> None:
        told = list[float]()

        def expire(name: str) -> None:
            told.append(loop.time())
            deadlines.add(name)

        deadlines = Deadlines(SECONDS, expire)
        deadlines.add("patient")
        for _ in range(3):
            await loop.move(SECONDS)
        assert told == [SECONDS, 2 * SECONDS, 3 * SECONDS]

    run_moved(test)
