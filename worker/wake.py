"""The pauses of loops that a wake-up may end: one that comes by Redis, or of a thread of the process.

A wake-up may be lost, so each loop also looks by itself: every 250 ms, and once a second after ten seconds in
which neither a look nor a wake-up brought anything. So what no wake-up tells is found within a second.
Without a subscription in Redis no wake-up can come, and a loop looks every 250 ms however quiet it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

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

LEAST_PAUSE_SECONDS = 0.005
"""Between two looks, so that wake-ups that come close together cause one look."""


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


class Wake:
    """Waits for a wake-up in Redis, and no longer than `LookInterval` says."""

    def __init__(self, runtime: Runtime, stopping: threading.Event, *channels: str) -> None:
        self._listener = WakeupListener(open_redis(runtime.settings.redis_address), *channels)
        self._stopping = stopping
        self._interval = LookInterval()

    def __call__(self, done: int) -> None:
        """Wait. `done` is what the last look did, or 1 where it knows of work that it could not do yet."""
        began = time.monotonic()
        if done:
            self._interval.busy()
        if self._listener.wait(self._interval.seconds(may_be_woken=self._listener.is_subscribed)):
            self._interval.busy()
        rest = LEAST_PAUSE_SECONDS - (time.monotonic() - began)
        if rest > 0:
            self._stopping.wait(rest)


class UntilSet:
    """Waits until an event of this process is set, and no longer than `QUIET_LOOK_SECONDS`; clears it."""

    def __init__(
        self, event: threading.Event, stopping: threading.Event, *, least_seconds: float = LEAST_PAUSE_SECONDS
    ) -> None:
        self._event = event
        self._stopping = stopping
        self._least_seconds = least_seconds
        self._looked = time.monotonic()

    def __call__(self, done: int) -> None:
        """Wait. Two passes begin `least_seconds` apart, so that work for one statement gathers."""
        del done
        self._event.wait(QUIET_LOOK_SECONDS)
        self._stopping.wait(max(0.0, self._looked + self._least_seconds - time.monotonic()))
        self._event.clear()
        self._looked = time.monotonic()
