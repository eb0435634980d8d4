"""The lists in Redis, sampled while a run lasts: the queues of Celery, and any other list there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

SAMPLE_SECONDS = 0.5
"""Between two samples: a list that grows is seen long before it matters."""


@dataclass(frozen=True, slots=True)
class ListLength:
    """How many messages a list had at a moment (seconds since the epoch)."""

    at: float
    name: str
    length: int


class ListSampler:
    """Samples in a thread until `end`. `url` gives the address of Redis, which may change with a restart.

    `samples` are the lists that had messages, `looks` counts how often all lists were looked at.
    """

    def __init__(self, url: Callable[[], str]) -> None:
        self.samples: list[ListLength] = []
        self.looks = 0
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lists", daemon=True)

    def begin(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def end(self) -> None:
        """Take no more samples."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            try:
                self.sample()
            except (RedisError, OSError, ValueError):
                continue  # Redis is away, or `stack.json` is being written

    def sample(self) -> None:
        """Take one sample of every list."""
        options: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 5, "decode_responses": True}
        with Redis.from_url(self._url(), **options) as client:  # pyright: ignore[reportUnknownMemberType]
            for name in client.scan_iter(count=1000, _type="list"):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                length: Any = client.llen(str(name))  # pyright: ignore[reportUnknownArgumentType]
                self.samples.append(ListLength(time.time(), str(name), int(length)))  # pyright: ignore[reportUnknownArgumentType]
        self.looks += 1
