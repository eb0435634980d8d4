"""An event loop whose timers follow a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

R = TypeVar("R")


class MovedLoop(asyncio.SelectorEventLoop):
    """Its time stands still until `move`; threads and sockets wake it as they always do."""

    moment = 0.0

    def time(self) -> float:
        """Seconds, by the clock of the test."""
        return self.moment

    async def move(self, seconds: float) -> None:
        """Let so much time pass, and what is due by then be done."""
        self.moment += seconds
        await asyncio.sleep(0)  # what is due comes behind this task
        await asyncio.sleep(0)


def run_moved(test: Callable[[MovedLoop], Awaitable[R]]) -> R:
    """Run a test on such a loop."""

    async def run() -> R:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, MovedLoop)
        return await test(loop)

    with asyncio.Runner(loop_factory=MovedLoop) as runner:
        return runner.run(run())
