"""The sampler sees every list of a real Redis, and outlives one that is away."""

from __future__ import annotations

import threading
import time

from redis import Redis

from chaos.redis_lists import ListSampler


def test_a_sample_has_every_list_and_nothing_else(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:  # pyright: ignore[reportUnknownMemberType]
        redis.rpush("generate.interactive", "a", "b", "c")
        redis.rpush("generate.backfill", "d")
        redis.hset("unacked", "e", "f")
    sampler = ListSampler(lambda: redis_url)
    began = time.time()
    sampler.sample()
    assert {(one.name, one.length) for one in sampler.samples} == {
        ("generate.interactive", 3),
        ("generate.backfill", 1),
    }
    assert sampler.looks == 1
    assert all(began <= one.at <= time.time() for one in sampler.samples)


def test_sampling_goes_on_after_redis_was_away(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:  # pyright: ignore[reportUnknownMemberType]
        redis.rpush("generate.backfill", "d")
    asked = threading.Semaphore(0)
    urls = iter(["redis://127.0.0.1:1/0"])

    def address() -> str:
        asked.release()
        return next(urls, redis_url)

    sampler = ListSampler(address)
    sampler.begin()
    for _ in range(3):  # when it asks for the third time the second sample is taken
        asked.acquire()
    sampler.end()
    assert sampler.samples[0].name == "generate.backfill"
