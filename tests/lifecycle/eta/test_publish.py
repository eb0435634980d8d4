"""The forecast of a real backlog: published by one dispatcher, read by the API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine

from cli.stack.servers.redis import EmbeddedRedis
from imagequeue import wiring
from imagequeue.domain.forecast import UNKNOWN
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.eta import publish, queue_sample
from imagequeue.lifecycle.eta.publish import ForecastPublisher, ForecastReader
from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import PrefixedRedis, open_redis
from tests import fleet
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefixedRedis]:
    """A Redis of this module's own."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")).running() as server:
        client = open_redis(read_redis_url(server.url))
        yield client
        client.close()


@pytest.fixture
def paced(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Two deployments, 18 calls in 2.2 seconds together."""
    common = {"window_seconds": 2, "guard_ms": 200, "latency_ms": [100, 200]}
    given = {"east": {"rpm": 12, **common}, "west": {"rpm": 6, **common}}
    with fleet.pipeline(engine, database_url, tmp_path, given) as made:
        yield made


def publishing(of: Pipeline, redis: PrefixedRedis) -> ForecastPublisher:
    return replace(wiring.forecast_publisher(of.runtime, lambda: of.dispatch.eligibility), redis=redis)


def flow_of(of: Pipeline, job_id: UUID) -> int:
    return of.rows("SELECT flow_id FROM jobs WHERE id = :id", id=job_id)[0].flow_id


def test_while_no_job_waits_an_empty_forecast_is_published_once(
    paced: Pipeline, redis: PrefixedRedis
) -> None:
    redis.delete(publish.KEY, publish.LEASE_KEY)
    waits = False
    of_dispatcher = replace(publishing(paced, redis), may_wait=lambda: waits)
    assert of_dispatcher.run_once() == 1
    redis.delete(publish.LEASE_KEY)
    assert of_dispatcher.run_once() == 0
    (job_id,) = paced.submit(1)
    waits = True
    assert of_dispatcher.run_once() == 1
    assert ForecastReader(redis).estimate(flow_of(paced, job_id), job_id).position == 1


def test_one_of_several_dispatchers_publishes_and_the_api_reads(
    paced: Pipeline, redis: PrefixedRedis
) -> None:
    redis.delete(publish.KEY, publish.LEASE_KEY)
    (job_id,) = paced.submit(1)
    first, second = publishing(paced, redis), publishing(paced, redis)
    assert [first.run_once(), second.run_once()] == [1, 0]
    found = ForecastReader(redis).estimate(flow_of(paced, job_id), job_id)
    assert found.position == 1
    assert found.eta_seconds is not None


def test_without_redis_there_is_no_forecast(paced: Pipeline) -> None:
    (job_id,) = paced.submit(1)
    assert ForecastReader(paced.runtime.redis).estimate(flow_of(paced, job_id), job_id) == UNKNOWN


def test_a_long_flow_is_sampled_and_its_end_is_known(
    paced: Pipeline, redis: PrefixedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_sample, "JOBS_READ", 20)
    monkeypatch.setattr(queue_sample, "SAMPLES", 10)
    jobs = paced.submit(100, lane=Lane.BACKFILL)
    look = publishing(paced, redis).forecast()
    positions = list[int]()
    for job_id in jobs:
        found = look.estimate(flow_of(paced, job_id), job_id, 0)
        assert found.position is not None
        positions.append(found.position)
    assert positions[0] == 1
    assert positions[-1] == 100
    assert positions == sorted(positions)
    assert positions[:20] == pytest.approx(range(1, 21), abs=2)
