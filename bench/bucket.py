"""A baseline for comparison: a token bucket of capacity RPM, refilled at RPM per window. Not in the product.

Most clients do it like this, and so send up to 2R - 1 calls in one sliding window
(docs/design/rate-limiting.md, "Why the usual buckets fail").
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from bench.stack import KEY

_THREADS = 16  # calls at a time: 12 RPM and calls of up to 1 s need far fewer
_BODY = {"model": "mai", "prompt": "an ordinary bucket", "width": 1024, "height": 1024}


@dataclass(slots=True)
class Bucket:
    """Starts with `capacity` tokens and gains `capacity / window` each second (`window` in seconds)."""

    capacity: int
    window: float
    tokens: float = field(init=False)
    filled_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tokens = float(self.capacity)

    def seconds_until_token(self) -> float:
        """Take a token and return 0; if there is none, return the seconds until there is."""
        now = time.monotonic()
        rate = self.capacity / self.window
        self.tokens = min(float(self.capacity), self.tokens + (now - self.filled_at) * rate)
        self.filled_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / rate


def saturate(endpoint: str, capacity: int, window: float, stopping: threading.Event) -> None:
    """Call as often as the bucket allows, until `stopping` is set."""
    bucket = Bucket(capacity, window)
    with (
        httpx.Client(trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        while not stopping.is_set():
            wait_seconds = bucket.seconds_until_token()
            if wait_seconds == 0:
                pool.submit(_call, client, endpoint)
            else:
                stopping.wait(wait_seconds)


def _call(client: httpx.Client, endpoint: str) -> None:
    client.post(f"{endpoint}/mai/v1/images/generations", json=_BODY, headers={"api-key": KEY})
