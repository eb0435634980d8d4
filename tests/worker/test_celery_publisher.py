"""While the workers are away the lists in Redis stay as short as the work at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from imagequeue import wiring
from imagequeue.lifecycle.sweep.sweep import Sweep
from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import PrefixedRedis, open_redis
from tests.builders import NO_REDIS
from tests.pipeline import Pipeline, RunningPipeline
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher

QUEUE = "generate.interactive"
LOOKS = 20
"""How often everything is overdue again: five minutes without a worker."""


@dataclass
class Lists:
    """A pipeline whose doorbells go to Redis, where nobody takes them."""

    pipeline: Pipeline
    redis: PrefixedRedis
    sweep: Sweep

    def length(self, queue: str) -> int:
        return self.redis.llen(queue)

    def ring_overdue(self) -> None:
        """15 s pass, in which no worker takes anything."""
        self.pipeline.execute("UPDATE attempts SET release_deadline = clock_timestamp() - interval '1 s'")
        self.pipeline.beat()
        self.sweep.ring_again()


def _lists(pipeline: Pipeline, url: str, redis: PrefixedRedis) -> Lists:
    publisher = CeleryPublisher(make_app(read_redis_url(url)), redis)
    runtime, settlement = pipeline.runtime, pipeline.settlement
    pipeline.dispatch.release = publisher.attempts
    sweep = wiring.sweep(runtime, settlement, publisher.attempts, publisher.attempts_waiting)
    return Lists(pipeline, redis, sweep)


@pytest.fixture
def lists(engine: Engine, database_url: str, tmp_path: Path, redis_url: str) -> Iterator[Lists]:
    with (
        RunningPipeline(engine, database_url, tmp_path) as pipeline,
        open_redis(read_redis_url(redis_url)) as redis,
    ):
        yield _lists(pipeline, redis_url, redis)


def test_attempts_that_nobody_starts_are_in_the_list_once(lists: Lists) -> None:
    lists.pipeline.submit(8)
    assert lists.pipeline.dispatch.run_once() == 8
    for _ in range(LOOKS):
        lists.ring_overdue()
        assert lists.length(QUEUE) == 8


def test_of_attempts_whose_doorbells_were_lost_as_many_are_rung_as_are_missing(lists: Lists) -> None:
    lists.pipeline.submit(8)
    lists.pipeline.dispatch.run_once()
    lists.redis.ltrim(QUEUE, 0, 4)
    lists.ring_overdue()
    assert lists.length(QUEUE) == 8


def test_an_emptied_redis_gets_every_doorbell_again(lists: Lists) -> None:
    lists.pipeline.submit(8)
    lists.pipeline.dispatch.run_once()
    lists.ring_overdue()
    assert lists.length(QUEUE) == 8
    lists.redis.flushall()  # pyright: ignore[reportUnknownMemberType]
    lists.ring_overdue()
    assert lists.length(QUEUE) == 8


def test_while_redis_is_away_nothing_is_put_off(lists: Lists) -> None:
    lists.pipeline.submit(2)
    lists.pipeline.dispatch.run_once()
    with open_redis(read_redis_url(NO_REDIS)) as away:
        _lists(lists.pipeline, NO_REDIS, away).ring_overdue()
    lists.redis.flushall()  # pyright: ignore[reportUnknownMemberType]
    assert lists.sweep.ring_again() == 2
