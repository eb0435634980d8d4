"""A worker that no longer consumes exits; one that has nothing to do, or cannot, does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import PrefixedRedis, open_redis
from tests.builders import NO_REDIS
from worker.liveness import LOOKS, LOOKS_WHILE_RUNNING, Activity, Liveness

QUEUE = "generate.interactive"


@pytest.fixture
def redis(redis_url: str) -> Iterator[PrefixedRedis]:
    with open_redis(read_redis_url(redis_url)) as client:
        yield client


class Watched:
    """A worker's activity under a watch that notes when it gives up."""

    def __init__(self, redis: PrefixedRedis, slots: int = 2) -> None:
        self.reasons = list[str]()
        self.activity = Activity(slots)
        self.liveness = Liveness(redis, [QUEUE], self.activity, self.reasons.append)

    def look(self, times: int) -> list[str]:
        for _ in range(times):
            self.liveness.run_once()
        return self.reasons


def test_messages_that_wait_while_nothing_is_begun_end_the_process(redis: PrefixedRedis) -> None:
    watched = Watched(redis)
    redis.lpush(QUEUE, "message")
    assert watched.look(LOOKS - 1) == []
    assert len(watched.look(1)) == 1


def test_an_empty_queue_is_no_reason(redis: PrefixedRedis) -> None:
    assert Watched(redis).look(LOOKS + 1) == []


def test_a_call_that_was_begun_is_a_sign_of_life(redis: PrefixedRedis) -> None:
    watched = Watched(redis)
    redis.lpush(QUEUE, "message")
    watched.look(LOOKS - 1)
    with watched.activity:
        assert watched.look(1) == []
    assert watched.look(LOOKS - 1) == []


def test_a_process_whose_slots_are_all_taken_is_busy(redis: PrefixedRedis) -> None:
    watched = Watched(redis, slots=1)
    redis.lpush(QUEUE, "message")
    with watched.activity:
        assert watched.look(LOOKS_WHILE_RUNNING + 2) == []


def test_calls_that_still_run_get_longer(redis: PrefixedRedis) -> None:
    watched = Watched(redis)
    redis.lpush(QUEUE, "message")
    with watched.activity:
        assert watched.look(LOOKS_WHILE_RUNNING) == []
        assert len(watched.look(1)) == 1


def test_a_redis_that_is_away_is_no_reason() -> None:
    with open_redis(read_redis_url(NO_REDIS)) as nowhere:
        assert Watched(nowhere).look(LOOKS + 1) == []
