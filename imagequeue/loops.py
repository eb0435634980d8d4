"""Loops: `run()` around `run_once()` (law 4 of CONTRIBUTING). Every loop of every process is run here.

A loop has a thread of its own, so that one that waits holds up no other. A pass that meets an error is
logged and followed by another one, ever later (`FAILED_PASS`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.backoff import FAILED_PASS, PROCESS_START

log = structlog.get_logger()


class Interval:
    """Waits the same time after each pass, or until the process stops.

    `idle_seconds` is another time, for after a pass that found nothing to do.
    """

    def __init__(
        self, seconds: float, stopping: threading.Event, *, idle_seconds: float | None = None
    ) -> None:
        self._seconds = seconds
        self._stopping = stopping
        self._idle_seconds = seconds if idle_seconds is None else idle_seconds

    def __call__(self, done: int) -> None:
        """Pause."""
        self._stopping.wait(self._seconds if done else self._idle_seconds)


def no_pause(done: int) -> None:
    """Let the next pass begin at once: the pass itself waits."""
    del done


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

    @classmethod
    def every(cls, seconds: float, name: str, once: Callable[[], int], stopping: threading.Event) -> Self:
        """A loop that waits so many seconds after each pass."""
        return cls(name, once, Interval(seconds, stopping), stopping)

    def run(self) -> None:
        """Make passes until the process stops."""
        while not self.stopping.is_set():
            self._moved = self.clock()
            try:
                done = self.once()
            except Exception as error:  # noqa: BLE001  # a loop outlives whatever its pass meets
                self._failed(error)
            else:
                self.failures = 0
                self._moved = self.clock()
                self.pause(done)

    def start(self) -> threading.Thread:
        """Run in a thread of its own, which keeps no process from ending."""
        thread = threading.Thread(target=self.run, name=self.name, daemon=True)
        thread.start()
        return thread

    @contextmanager
    def running(self) -> Generator[Self]:
        """Run in a thread of its own while the context is open; then stop, and wait for the pass's end."""
        thread = self.start()
        try:
            yield self
        finally:
            self.stopping.set()
            thread.join()

    def age(self) -> float:
        """Seconds since the loop last began or ended a pass: neither counts for the other, both can hang."""
        return self.clock() - self._moved

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._moved = self.clock()
        log.warning("loop_failed", loop=self.name, reason=f"{type(error).__name__}: {error}"[:500])
        self.stopping.wait(FAILED_PASS.wait_seconds(self.failures, self.random))


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Ends a process whose loops stand still: `ages` are the seconds since each loop's last pass.

    For a dispatcher, which is nothing but its loops. A worker is not ended for a loop that waits for the
    storage: it has calls in flight, which are paid for (`worker/liveness.py` has its rule).
    """

    ages: Callable[[], Sequence[float]]
    give_up: Callable[[str], None]
    longest: float = 60.0
    """Seconds; no pass waits so long for a server that is away."""

    def run_once(self) -> int:
        """Look once; 1 when a loop stands still."""
        oldest = max(self.ages(), default=0.0)
        if oldest > self.longest:
            self.give_up(f"a loop has made no pass for {oldest:.0f} s")
            return 1
        return 0


def retry_until_stopped(once: Callable[[], object], stopping: threading.Event) -> None:
    """Do what a process begins with, however long its database is away; or stop."""
    failures, random = 0, Random()  # noqa: S311  # jitter is no secret
    while not stopping.is_set():
        try:
            once()
        except SQLAlchemyError as error:
            failures += 1
            log.warning("start_postponed", reason=type(error).__name__)
            stopping.wait(PROCESS_START.wait_seconds(failures, random))
        else:
            return
