"""Token buckets: the script's arithmetic on a clock that the test moves, and the real Redis."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from imagequeue.client_rate_limit import PREFIX, Allowance, ClientRateLimit, Withdrawal
from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import PrefixedRedis, open_redis
from tests.builders import NO_REDIS


@pytest.fixture
def redis(redis_url: str) -> PrefixedRedis:
    return open_redis(read_redis_url(redis_url))


def age(redis: PrefixedRedis, name: str, seconds: float) -> None:
    """Move a bucket's last withdrawal back, as if time had passed."""
    at = cast("bytes", redis.hget(PREFIX + name, "at"))
    redis.hset(PREFIX + name, "at", str(float(at) - seconds))  # pyright: ignore[reportUnknownMemberType]


def take(limit: ClientRateLimit, rpm: int, times: int = 1) -> list[float]:
    """Seconds to wait; 0: a token was taken."""
    taken = [limit.take([Allowance("key", rpm)])[0] for _ in range(times)]
    return [one.wait_seconds for one in taken if one is not None]


def test_a_minutes_worth_at_once_and_then_evenly(redis: PrefixedRedis) -> None:
    limit = ClientRateLimit(redis)
    assert take(limit, 6, 6) == [0] * 6
    assert take(limit, 6)[0] == pytest.approx(10, abs=0.5)
    age(redis, "key", 9)
    assert 0 < take(limit, 6)[0] <= 1.1
    age(redis, "key", 1.1)
    assert take(limit, 6) == [0]
    assert take(limit, 6)[0] > 8


def test_refused_requests_cost_nothing(redis: PrefixedRedis) -> None:
    limit = ClientRateLimit(redis)
    take(limit, 60, 60)
    take(limit, 60, 20)
    age(redis, "key", 1.2)
    assert take(limit, 60) == [0]


def test_a_rested_bucket_is_full_and_no_more(redis: PrefixedRedis) -> None:
    limit = ClientRateLimit(redis)
    take(limit, 3, 3)
    age(redis, "key", 3600)
    assert take(limit, 3, 4)[:3] == [0, 0, 0]
    assert take(limit, 3)[0] > 0


def test_a_clock_that_goes_back_gives_nothing_away(redis: PrefixedRedis) -> None:
    limit = ClientRateLimit(redis)
    take(limit, 1)
    age(redis, "key", -30)
    assert take(limit, 1)[0] == pytest.approx(60, abs=1)


def test_buckets_are_shared_by_processes_and_separate_by_name(redis: PrefixedRedis, redis_url: str) -> None:
    limits = [ClientRateLimit(open_redis(read_redis_url(redis_url))) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(take, limit, 20, 10) for limit in limits]
    waits = [wait for waits in taken for wait in waits.result()]
    assert waits.count(0) == 20
    limited, free = limits[0].take([Allowance("key", 20), Allowance("other", 20)])
    assert limited is not None
    assert limited.wait_seconds > 0
    assert (limited.tokens < 1, free) == (True, Withdrawal(0, 19))
    assert 0 < redis.ttl(PREFIX + "key") <= 62


def test_without_redis_everybody_passes_and_nobody_waits_twice() -> None:
    limit = ClientRateLimit(open_redis(read_redis_url(NO_REDIS)))
    began = time.monotonic()
    assert [limit.take([Allowance("key", 1)] * 3) for _ in range(100)] == [[None] * 3] * 100
    assert time.monotonic() - began < 20
