"""The limit on each client's API key: token buckets in Redis, which all API processes share.

A bucket holds the requests of one minute and fills evenly. While Redis is away no client is limited, because
refusing paid work for want of a counter would be worse; a second after a failure Redis is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from redis.exceptions import RedisError

from imagequeue.domain.backoff import REQUEST_COUNTING
from imagequeue.redis_server.client import PrefixedRedis

PREFIX = "imagequeue:throttle:"
_SCRIPT = Path(__file__).with_suffix(".lua").read_text("ascii")
MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """One request by a client that may make `rpm` requests a minute; `name` is that of its bucket."""

    name: str
    rpm: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What became of a request: 0, or the seconds until there is a token for it; and the tokens left then."""

    wait_seconds: float
    tokens: float


class ClientRateLimit:
    """Takes tokens. For one thread at a time."""

    def __init__(self, redis: PrefixedRedis) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._away_until = 0.0

    def take(self, requests: Sequence[Allowance]) -> list[Withdrawal | None]:
        """Take a token for each request; None: Redis is away, and nobody is limited."""
        if time.monotonic() < self._away_until:
            return [None] * len(requests)
        try:
            return self._take(requests)
        except (RedisError, OSError):
            self._away_until = time.monotonic() + REQUEST_COUNTING.first_seconds
            return [None] * len(requests)

    def _take(self, requests: Sequence[Allowance]) -> list[Withdrawal | None]:
        pipeline = self._redis.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
        for one in requests:
            self._script(
                keys=[self._redis.key(PREFIX + one.name)],
                args=[one.rpm, one.rpm / MINUTE_SECONDS],
                client=pipeline,
            )
        taken = cast("list[tuple[bytes, bytes]]", pipeline.execute())
        return [Withdrawal(float(wait), float(tokens)) for wait, tokens in taken]
