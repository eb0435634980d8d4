"""A route brings its own bulk calls; what it opened is closed with the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from sqlalchemy import Engine

from api.bulkhead import isolated
from api.coalescer import coalesced
from api.services import ApiServices
from tests.builders import runtime

GROUPS = list[list[int]]()


@coalesced(threads=1)
def double(services: ApiServices, numbers: list[int]) -> Sequence[int]:
    """Twice each number."""
    assert services.runtime
    GROUPS.append(numbers)
    return [number * 2 for number in numbers]


@isolated(what="calls", threads=2)
def halve(services: ApiServices, number: int) -> float:
    """Half a number."""
    assert services.runtime
    return number / 2


def test_a_call_that_is_defined_anywhere_is_served_and_its_threads_end_with_the_process(
    engine: Engine, database_url: str
) -> None:
    own = runtime(engine, database_url)
    services = ApiServices(own)

    async def run() -> None:
        async with services.running():
            assert await asyncio.gather(*(double(services, n) for n in (1, 2, 3))) == [2, 4, 6]
            assert await halve(services, 3) == 1.5
            assert _threads() == {"double", "halve"}

    asyncio.run(run())
    own.redis.close()
    assert GROUPS == [[1, 2, 3]]
    assert not _threads()


def _threads() -> set[str]:
    """The calls of this file that have a thread."""
    names = {thread.name.partition("_")[0] for thread in threading.enumerate()}
    return names & {"double", "halve"}
