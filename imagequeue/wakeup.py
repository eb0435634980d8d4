"""Wake-ups: messages in Redis that make a process look at the database now, and not a moment later.

"Jobs wait" and "polls are due" are for dispatchers, "inputs wait" is for workers, "these jobs are final" for
event streams of the API and for the workers that deliver webhooks.

A wake-up is best effort. Every listener also looks at regular intervals, so a lost wake-up costs a moment and
nothing else. It looks at once when its subscription begins, also after its connection was cut.

Publishing never blocks and never fails the caller: a thread of its own does it, and waits for a second when
Redis is away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

from redis.client import PubSub
from redis.exceptions import RedisError

from imagequeue.domain.backoff import WAKEUP_PUBLISHING
from imagequeue.loops import Loop
from imagequeue.redis_server.client import PrefixedRedis

JOBS_WAITING = "imagequeue:jobs-waiting"
INPUTS_WAITING = "imagequeue:inputs-waiting"
JOBS_FINAL = "imagequeue:jobs-final"
POLLS_DUE = "imagequeue:polls-due"

_NAMES_PER_MESSAGE = 500
"""About 18 kB of ids: a message stays small for Redis and for its readers."""
_MOST_PENDING = 10_000
"""Names that may wait in memory; more are dropped, so that an outage of Redis does not fill it."""
_TAKING_SECONDS = 0.005
"""How long a listener takes messages before it passes their names on.

Where threads compete for the interpreter, a message may take longer to read than the next one takes to come:
a listener that reads until nothing is left would then pass nothing on, and those who wait would be told by
the look once a second alone.
"""


class WakeupPublisher:
    """Publishes wake-ups on one channel. Shared by threads."""

    def __init__(self, redis: PrefixedRedis, channel: str) -> None:
        self._redis = redis
        self._channel = redis.key(channel)
        self._pending: dict[str, None] = {}
        self._requested = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._away = False
        loop = Loop(f"wake-up {channel}", self.run_once, self._pause, self._closed)
        self._thread = loop.start()

    def publish(self, *names: str) -> None:
        """Wake the listeners and send them the names (ids of jobs, or none). Returns at once."""
        with self._lock:
            if len(self._pending) < _MOST_PENDING:
                self._pending.update(dict.fromkeys(names or ("",)))
        if not self._requested.is_set():  # to set it takes a lock that the thread may hold
            self._requested.set()

    def close(self) -> None:
        """Publish what is pending, and end the thread."""
        self._closed.set()
        self._requested.set()
        self._thread.join()
        self.run_once()

    def run_once(self) -> int:
        """Publish what is pending; how many names. What Redis does not take is dropped."""
        with self._lock:
            names, self._pending = list(self._pending), {}
        try:
            for start in range(0, len(names), _NAMES_PER_MESSAGE):
                text = " ".join(names[start : start + _NAMES_PER_MESSAGE])
                self._redis.publish(self._channel, text)  # pyright: ignore[reportUnknownMemberType]
        except RedisError:
            self._away = True
            return 0
        self._away = False
        return len(names)

    def _pause(self, done: int) -> None:
        """Wait for a request; while Redis is away for a second first, in which requests gather."""
        del done
        if self._away:
            self._closed.wait(WAKEUP_PUBLISHING.first_seconds)
        self._requested.wait()
        self._requested.clear()


class Wakeups:
    """The publishers of one process. Shared by threads; a channel gets its thread at its first wake-up."""

    def __init__(self, redis: PrefixedRedis) -> None:
        self._redis = redis
        self._publishers: dict[str, WakeupPublisher] = {}
        self._lock = threading.Lock()

    def jobs_waiting(self) -> None:
        """Tell the dispatchers that a job waits for a call."""
        self._publisher(JOBS_WAITING).publish()

    def inputs_waiting(self) -> None:
        """Tell the workers that a job waits for its input images."""
        self._publisher(INPUTS_WAITING).publish()

    def jobs_final(self, job_ids: Sequence[UUID]) -> None:
        """Tell those who wait for these jobs, and those who deliver, because a webhook may be due."""
        self._publisher(JOBS_FINAL).publish(*map(str, job_ids))

    def polls_due(self) -> None:
        """Tell the dispatchers that a sleeping attempt may be polled."""
        self._publisher(POLLS_DUE).publish()

    def close(self) -> None:
        """Publish what is pending, and end the threads."""
        for publisher in self._publishers.values():
            publisher.close()

    def _publisher(self, channel: str) -> WakeupPublisher:
        with self._lock:
            if channel not in self._publishers:
                self._publishers[channel] = WakeupPublisher(self._redis, channel)
            return self._publishers[channel]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a listener has heard: the names of the wake-ups, and whether it may have missed some before.

    `missed` is True each time that the subscription begins, also again after the connection was cut: who
    waits for something must look at it then, because its wake-up may have come before.
    """

    names: Sequence[str] = ()
    missed: bool = False


class WakeupListener:
    """Waits for wake-ups on its channels. For one thread."""

    def __init__(self, redis: PrefixedRedis, *channels: str) -> None:
        self._pubsub: PubSub = redis.pubsub()  # pyright: ignore[reportUnknownMemberType]
        self._channels = [redis.key(channel) for channel in channels]
        self._subscribed = False
        self._closed = threading.Event()

    def wait(self, timeout: float) -> bool:
        """Wait until there is a reason to look, at most `timeout` seconds."""
        return self.hear(timeout) is not None

    def hear(self, timeout: float) -> Heard | None:
        """Wait for wake-ups, at most `timeout` seconds, and take what has arrived; None if nothing has.

        What has not been taken within `_TAKING_SECONDS` is taken by the next call.
        """
        deadline = time.monotonic() + timeout
        heard = None
        try:
            self._subscribe()
            message = self._message(deadline - time.monotonic())
            until = time.monotonic() + _TAKING_SECONDS
            while message is not None:
                heard = _with(heard or Heard(), message)
                message = self._message(0.0) if time.monotonic() < until else None
        except (RedisError, OSError):
            self._subscribed = False
            if heard is None:
                self._closed.wait(max(0.0, deadline - time.monotonic()))
        return heard

    @property
    def is_subscribed(self) -> bool:
        """Whether wake-ups reach it, as far as it knows; a connection that was cut shows at the next wait."""
        return self._subscribed

    def interrupt(self) -> None:
        """End a `wait` that goes on because Redis is away; may be called from another thread."""
        self._closed.set()

    def close(self) -> None:
        """Close the connection."""
        self._closed.set()
        self._pubsub.close()

    def _subscribe(self) -> None:
        if not self._subscribed:
            self._pubsub.subscribe(*self._channels)  # pyright: ignore[reportUnknownMemberType]
            self._subscribed = True

    def _message(self, seconds: float) -> dict[str, Any] | None:
        """The next message, within so many seconds.

        The library gives None early when it has read the answer to its own PING.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            message = cast("dict[str, Any] | None", self._pubsub.get_message(timeout=left))
            if message is not None or left == 0.0:
                return message


def _with(heard: Heard, message: dict[str, Any]) -> Heard:
    """What was heard with one more message; one that confirms a subscription is the first of a connection."""
    if message["type"] == "message":
        return replace(heard, names=[*heard.names, *message["data"].decode().split()])
    return replace(heard, missed=heard.missed or message["type"] == "subscribe")
