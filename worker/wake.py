"""The pauses of loops that a wake-up may end: one that comes by Redis, or of a thread of the process.

A wake-up may be lost, so each loop also looks by itself: every 250 ms, and once a second after ten seconds in
which neither a look nor a wake-up brought anything. So what no wake-up tells is found within a second.
Without a subscription in Redis no wake-up can come, and a loop looks every 250 ms however quiet it is.

How often a busy stack looks has a bound as well (`Pace`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from imagequeue.redis_server.client import open_redis
from imagequeue.runtime import Runtime
from imagequeue.wakeup import WakeupListener

LOOK_SECONDS = 0.25
"""Such a loop looks at least this often while there is work, so a wake-up that is lost costs no more.

Source: docs/design/pipeline.md, "Dispatch".
"""

QUIET_LOOK_SECONDS = 1.0
"""The same when it is quiet: a look costs a millisecond of processor, here and in Postgres."""

QUIET_AFTER_SECONDS = 10.0
"""Longer than most work needs until its next step, so that only a loop without work is quiet."""

LEAST_SECONDS, MOST_SECONDS = 0.01, 0.1
"""Between the beginnings of two looks: a busy stack serves several items by each, for the cost of one.

Where a job takes 25 ms of processor time, 80 ms between looks saved 3 ms of it beside 25, and 5 beside 5.
"""

SHARE = 5
"""A loop looks for a fifth of its time: where a look takes longer, as on a busy machine, they are rarer."""

HURRIED_SECONDS = 0.005
"""The same where what waits for a look holds places for which others wait: they would be idle for longer."""

_STOP_SECONDS, _WAITS = 1.0, 10
"""How late a loop may see that the process stops; after so many waits it looks although nothing was set."""


class LookInterval:
    """How long to wait for the next wake-up before a look is made without one. Shared by threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._busy_at = clock()

    def busy(self) -> None:
        """A look found work, or a wake-up came."""
        self._busy_at = self._clock()

    def seconds(self, *, may_be_woken: bool) -> float:
        """The wait. `may_be_woken`: the subscription to the wake-ups stands."""
        quiet = self._clock() - self._busy_at >= QUIET_AFTER_SECONDS
        return QUIET_LOOK_SECONDS if quiet and may_be_woken else LOOK_SECONDS


class Pace:
    """Lets looks begin some time apart; one after a quiet time begins at once. For one thread.

    `wait` waits so many seconds, or until the process stops.
    """

    def __init__(self, wait: Callable[[float], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._wait = wait
        self._clock = clock
        self._began = self._ended = float("-inf")

    def ended(self) -> None:
        """The look has ended."""
        self._ended = self._clock()

    def rest(self, *, hurried: bool = False) -> bool:
        """Wait until the next look may begin, and take it as begun; whether there was a wait."""
        apart = min(max(LEAST_SECONDS, SHARE * (self._ended - self._began)), MOST_SECONDS)
        seconds = self._began + (HURRIED_SECONDS if hurried else apart) - self._clock()
        if seconds > 0:
            self._wait(seconds)
        self._began = self._clock()
        return seconds > 0


class Wake:
    """Waits for a wake-up in Redis, and no longer than `interval` says."""

    def __init__(self, listener: WakeupListener, pace: Pace, interval: LookInterval) -> None:
        self._listener = listener
        self._pace = pace
        self._interval = interval

    @classmethod
    def on(
        cls, runtime: Runtime, stopping: threading.Event, channel: str, interval: LookInterval | None = None
    ) -> Self:
        """For a loop of this process that looks when the channel wakes it."""
        listener = WakeupListener(open_redis(runtime.settings.redis_address), channel)
        return cls(listener, Pace(stopping.wait), interval or LookInterval())

    def __call__(self, done: int) -> None:
        """Wait. `done` is what the last look did, or 1 where it knows of work that it could not do yet."""
        self._pace.ended()
        if done:
            self._interval.busy()
        if self._listener.wait(self._interval.seconds(may_be_woken=self._listener.is_subscribed)):
            self._interval.busy()
        if self._pace.rest():
            self._listener.wait(0.0)  # the look that begins now serves what has come meanwhile, too


class UntilSet:
    """Waits until an event of this process is set, at most 10 s, or until the process stops; clears it.

    `hurried` says whether the next look may begin sooner than others.
    """

    def __init__(
        self, event: threading.Event, stopping: threading.Event, hurried: Callable[[], bool]
    ) -> None:
        self._event = event
        self._stopping = stopping
        self._hurried = hurried
        self._pace = Pace(stopping.wait)

    def __call__(self, done: int) -> None:
        """Wait."""
        del done
        self._pace.ended()
        for _ in range(_WAITS):
            if self._event.wait(_STOP_SECONDS) or self._stopping.is_set():
                break
        self._pace.rest(hurried=self._hurried())
        self._event.clear()
