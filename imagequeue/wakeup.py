"""Doorbells in Redis, for those who look anyway, but not at once.

"Jobs wait" and "polls are due" are for dispatchers, "inputs wait" for workers, "this job is final" for those
who wait for it.

A ring is best effort. Whoever listens looks for itself every so often, so a lost ring costs a moment and
nothing else. Ringing never blocks and never fails the caller: a thread of its own publishes, and gives up for
a second when Redis is away.
"""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

JOBS_WAITING = "imagequeue:jobs-waiting"
INPUTS_WAITING = "imagequeue:inputs-waiting"
JOBS_FINAL = "imagequeue:jobs-final"
POLLS_DUE = "imagequeue:polls-due"

_COOLDOWN_SECONDS = 1.0
_NAMES_PER_MESSAGE = 500
_MOST_PENDING = 10_000


class WakeupPublisher:
    """Rings one channel. Shared by threads."""

    def __init__(self, redis: Redis, channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._pending: dict[str, None] = {}
        self._rung = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"bell {channel}", daemon=True)
        self._thread.start()

    def publish(self, *names: str) -> None:
        """Wake the listeners, telling them the names (ids of jobs, or nothing). Returns at once."""
        with self._lock:
            if len(self._pending) < _MOST_PENDING:
                self._pending.update(dict.fromkeys(names or ("",)))
        self._rung.set()

    def close(self) -> None:
        """Publish what is pending, and end the thread."""
        self._closed.set()
        self._rung.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._rung.wait()
            self._rung.clear()
            if not self._publish():
                self._closed.wait(_COOLDOWN_SECONDS)

    def _publish(self) -> bool:
        with self._lock:
            names, self._pending = list(self._pending), {}
        try:
            for start in range(0, len(names), _NAMES_PER_MESSAGE):
                text = " ".join(names[start : start + _NAMES_PER_MESSAGE])
                self._redis.publish(self._channel, text)  # pyright: ignore[reportUnknownMemberType]
        except RedisError:
            return False
        return True


class WakeupListener:
    """Waits for rings of one channel. For one thread."""

    def __init__(self, redis: Redis, channel: str) -> None:
        self._pubsub: PubSub = redis.pubsub(ignore_subscribe_messages=True)  # pyright: ignore[reportUnknownMemberType]
        self._channel = channel
        self._subscribed = False
        self._closed = threading.Event()

    def wait(self, timeout: float) -> bool:
        """Wait for a ring, at most `timeout` seconds; all rings that are there already count as one."""
        return self.wait_names(timeout) is not None

    def wait_names(self, timeout: float) -> list[str] | None:
        """Wait for rings, at most `timeout` seconds; returns the names they told, None when none came."""
        deadline = time.monotonic() + timeout
        try:
            return self._listen(deadline)
        except (RedisError, OSError):
            self._subscribed = False
            self._closed.wait(max(0.0, deadline - time.monotonic()))
            return None

    def interrupt(self) -> None:
        """Let a `wait` that Redis's absence prolongs return; may be called from another thread."""
        self._closed.set()

    def close(self) -> None:
        """Close the connection."""
        self._closed.set()
        self._pubsub.close()

    def _listen(self, deadline: float) -> list[str] | None:
        if not self._subscribed:
            self._pubsub.subscribe(self._channel)  # pyright: ignore[reportUnknownMemberType]
            self._subscribed = True
        names: list[str] | None = None
        while True:
            patience = max(0.0, deadline - time.monotonic()) if names is None else 0.0
            message = cast("dict[str, Any] | None", self._pubsub.get_message(timeout=patience))
            if message is not None and message["type"] == "message":
                names = (names or []) + message["data"].decode().split()
            elif patience == 0.0:
                return names
