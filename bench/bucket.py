"""The baseline: an ordinary token bucket of capacity RPM, refilled at RPM a window. Not in the product.

It is what most clients do, and it admits up to 2R - 1 calls in one sliding window
(docs/design/rate-limiting.md, "Why the usual buckets fail").
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from bench.stack import KEY

_THREADS = 16
_BODY = {"model": "mai", "prompt": "an ordinary bucket", "width": 1024, "height": 1024}


@dataclass(slots=True)
class Bucket:
    """`capacity` tokens at first, `capacity / window` more a second."""

    capacity: int
    window: float
    tokens: float = field(init=False)
    filled_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tokens = float(self.capacity)

    def seconds_until_token(self) -> float:
        """Take a token and return 0, or return how long to wait for one."""
        now = time.monotonic()
        rate = self.capacity / self.window
        self.tokens = min(float(self.capacity), self.tokens + (now - self.filled_at) * rate)
        self.filled_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / rate


def saturate(endpoint: str, capacity: int, window: float, stopping: threading.Event) -> None:
    """Call as often as the bucket allows, until told to stop."""
    bucket = Bucket(capacity, window)
    with (
        httpx.Client(trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        while not stopping.is_set():
            rest = bucket.seconds_until_token()
            if rest == 0:
                pool.submit(_call, client, endpoint)
            else:
                stopping.wait(rest)


def _call(client: httpx.Client, endpoint: str) -> None:
    client.post(f"{endpoint}/mai/v1/images/generations", json=_BODY, headers={"api-key": KEY})
