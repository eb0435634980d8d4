"""Liveness: a worker that no longer consumes exits, and its supervisor starts another one.

A consumer can stop for reasons that no exception shows (a broker connection that is half open, a library's
bug). So the process watches the effect: messages wait in its queues, it has slots free, and it has
begun nothing for a while, although Redis answers. That must hold in a row of looks before it exits. Calls
that still run are paid for, so they get far longer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from imagequeue.redis_server.client import PrefixedRedis

LOOKS = 8
LOOKS_WHILE_RUNNING = 60
"""`IMAGEQUEUE_LIVENESS_SECONDS` lie between two looks."""


@dataclass(slots=True)
class Activity:
    """What the tasks of this process do: how many run, how many were begun."""

    slots: int
    running: int = 0
    begun: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> None:
        with self._lock:
            self.running += 1
            self.begun += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.running -= 1


@dataclass(slots=True)
class Liveness:
    """The watch of one worker process; `give_up` ends it."""

    redis: PrefixedRedis
    queues: Sequence[str]
    activity: Activity
    give_up: Callable[[str], None]
    strikes: int = 0
    begun: int = 0

    def run_once(self) -> int:
        """Look once; the number of looks in a row at which the process should have worked and did not."""
        idle = self.activity.begun == self.begun and self.activity.running < self.activity.slots
        self.begun = self.activity.begun
        self.strikes = self.strikes + 1 if idle and self._messages_wait() else 0
        if self.strikes >= (LOOKS_WHILE_RUNNING if self.activity.running else LOOKS):
            self.give_up(f"messages wait, slots are free, and nothing was begun in {self.strikes} looks")
        return self.strikes

    def _messages_wait(self) -> bool:
        try:
            return any(self.redis.llen(self.redis.key(queue)) for queue in self.queues)
        except RedisError:
            return False
