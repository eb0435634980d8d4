"""Per-key limits on clients: token buckets in Redis, so that all API processes share them.

A bucket holds a minute's worth of requests and fills evenly. Without Redis nothing is limited: refusing paid
work because a counter is away would be worse (it fails open, and asks Redis again a second later).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

PREFIX = "imagequeue:throttle:"
REST_SECONDS = 1.0
_SCRIPT = Path(__file__).with_suffix(".lua").read_text("ascii")
_PER_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """One request of somebody who may make `rpm` a minute."""

    name: str
    rpm: int


class ClientRateLimit:
    """Takes tokens. For one thread at a time."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._away_until = 0.0

    def take(self, asked: Sequence[Allowance]) -> list[float]:
        """Take a token for each request; returns 0 where one was there, else the seconds until one is."""
        if time.monotonic() < self._away_until:
            return [0.0] * len(asked)
        try:
            return self._take(asked)
        except (RedisError, OSError):
            self._away_until = time.monotonic() + REST_SECONDS
            return [0.0] * len(asked)

    def _take(self, asked: Sequence[Allowance]) -> list[float]:
        pipeline = self._redis.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
        for one in asked:
            self._script(keys=[PREFIX + one.name], args=[one.rpm, one.rpm / _PER_MINUTE], client=pipeline)
        return [float(cast("bytes", wait)) for wait in pipeline.execute()]
