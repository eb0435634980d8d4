"""Loops: `run()` around `run_once()` (law 4). One that meets an error logs it and goes on, ever later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import structlog
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.backoff import exponential

log = structlog.get_logger()


@dataclass(slots=True)
class Loop:
    """Calls `once` again and again; `pause` waits between two calls and is told what `once` returned."""

    name: str
    once: Callable[[], int]
    pause: Callable[[int], None]
    stopping: threading.Event
    random: Random = field(default_factory=Random)
    clock: Callable[[], float] = time.monotonic
    failures: int = 0
    _moved: float = field(init=False)

    def __post_init__(self) -> None:
        self._moved = self.clock()

    def run(self) -> None:
        """Turn until the process stops."""
        while not self.stopping.is_set():
            self._moved = self.clock()
            try:
                done = self.once()
            except Exception as error:  # noqa: BLE001  # a loop outlives whatever its turn meets
                self._failed(error)
            else:
                self.failures = 0
                self._moved = self.clock()
                self.pause(done)

    def age(self) -> float:
        """Seconds since the loop last began or ended a turn: neither counts for the other, both can hang."""
        return self.clock() - self._moved

    def start(self) -> threading.Thread:
        """Run in a thread of its own."""
        thread = threading.Thread(target=self.run, name=self.name, daemon=True)
        thread.start()
        return thread

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._moved = self.clock()
        log.warning("loop_failed", loop=self.name, reason=f"{type(error).__name__}: {error}"[:500])
        self.stopping.wait(exponential(self.failures, base=0.2, cap=5, random=self.random))


def retry_until_stopped(once: Callable[[], object], stopping: threading.Event) -> None:
    """Do what a process begins with, however long its database is away; or stop."""
    failures = 0
    while not stopping.is_set():
        try:
            once()
        except SQLAlchemyError as error:
            failures += 1
            log.warning("start_postponed", reason=type(error).__name__)
            stopping.wait(exponential(failures, base=0.2, cap=2, random=Random()))  # noqa: S311  # no secret
        else:
            return


class Interval:
    """Waits the same time after each turn, or until the process stops."""

    def __init__(self, seconds: float, stopping: threading.Event) -> None:
        self._seconds = seconds
        self._stopping = stopping

    def __call__(self, done: int) -> None:
        """Pause."""
        del done
        self._stopping.wait(self._seconds)
