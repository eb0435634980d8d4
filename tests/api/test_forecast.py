"""`queue_position`, `eta_seconds` and `Retry-After`, as a client reads them over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import Engine, text

from api.requests import LONGEST_PAUSE
from imagequeue import wiring
from imagequeue.domain.ids import request_id
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta import publish as eta
from imagequeue.lifecycle.eta.publish import ForecastPublisher
from imagequeue.lifecycle.operate.accounts import KeyTerms, add_key
from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import open_redis
from imagequeue.signing import Keyring
from tests import fleet
from tests.api.service import Client, Service, serving
from tests.builders import MODEL, SECRET_KEY
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long
KEYS = {"queue_position", "eta_seconds"}


def known_by(answer: httpx.Response) -> tuple[int | None, float | None]:
    """Position and ETA of a job that waits: both are there, whatever they are."""
    body = answer.json()
    assert set(body) >= KEYS
    pause = answer.headers["Retry-After"]
    assert pause.isdecimal()
    assert 1 <= int(pause) <= LONGEST_PAUSE
    return body["queue_position"], body["eta_seconds"]


def assert_final(answer: httpx.Response, engine: Engine) -> None:
    """The body is the one that was fixed, byte for byte, and nobody need look again."""
    with engine.connect() as connection:
        statement = text("SELECT body FROM job_results WHERE job_id = CAST(:id AS uuid)")
        fixed = connection.execute(
            statement, {"id": answer.json()["request_id"].rpartition("_")[2]}
        ).scalar_one()
    assert answer.content == fixed.encode()
    assert not KEYS & set(answer.json())
    assert "Retry-After" not in answer.headers


def change(engine: Engine, statement: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


class TestWithoutRedis:
    """Nothing is known, and the keys are there for as long as the job waits."""

    def test_a_queued_job(self, client: Client) -> None:
        made = client.generate().json()["request_id"]
        answer = client.status(made)
        assert known_by(answer) == (None, None)
        assert answer.headers["Retry-After"] == "1"

    def test_a_job_that_met_a_429_waits_too(self, client: Client, engine: Engine) -> None:
        made = client.generate().json()["request_id"]
        change(engine, "UPDATE jobs SET status = 'PROCESSING'")
        assert known_by(client.status(made)) == (None, None)

    def test_a_job_whose_call_runs_does_not_wait(self, client: Client, engine: Engine) -> None:
        made = client.generate().json()["request_id"]
        change(engine, "UPDATE jobs SET status = 'PROCESSING', wanted = 0")
        answer = client.status(made)
        assert not KEYS & set(answer.json())
        assert answer.headers["Retry-After"] == "1"

    def test_a_final_job(self, client: Client, engine: Engine) -> None:
        made = client.generate().json()["request_id"]
        assert client.http.post(f"/v2/requests/{made}/cancel").status_code == 202
        assert_final(client.status(made), engine)


@dataclass
class Published:
    """A server, and a hand that publishes."""

    service: Service
    client: Client
    pipeline: Pipeline
    redis: Redis

    def publish(self) -> None:
        """Publish, and let the API forget what it read."""
        self.pipeline.beat()
        self.redis.delete(eta.LEASE_KEY)
        assert publishing(self.pipeline, self.redis).run_once() == 1

    def block(self, seconds: float, *, out_of_quota: bool = False) -> None:
        self.pipeline.execute(
            """
            UPDATE quota_groups SET out_of_quota = :out_of_quota,
                blocked_until = clock_timestamp() + make_interval(secs => :seconds)
            """,
            seconds=seconds,
            out_of_quota=out_of_quota,
        )

    def submit(self) -> str:
        """A job of the client's account, in one line with those of `self.pipeline`."""
        return request_id(MODEL, "generate", self.pipeline.submit(1)[0])


def publishing(of: Pipeline, redis: Redis) -> ForecastPublisher:
    publisher = wiring.forecast_publisher(of.runtime, lambda: Eligibility(of.runtime.catalog))
    return replace(publisher, redis=redis)


@contextmanager
def published(
    engine: Engine, database_url: str, redis_url: str, folder: Path, deployments: dict[str, dict[str, Any]]
) -> Generator[Published]:
    with (
        fleet.pipeline(engine, database_url, folder, deployments) as made,
        serving(engine, database_url, of=made.runtime.catalog, redis_url=SecretStr(redis_url)) as service,
    ):
        key = add_key(engine, Keyring(SECRET_KEY), "acme", "poller", KeyTerms())
        client = Client(service, made.account_id, key.id, key.key)
        service.clients.append(client)
        redis = open_redis(read_redis_url(redis_url))
        yield Published(service, client, made, redis)
        redis.close()


@pytest.fixture
def steady(engine: Engine, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Published]:
    """One call a second."""
    with published(engine, database_url, redis_url, tmp_path, {"east": {"rpm": 60, "guard_ms": 0}}) as made:
        yield made


@pytest.mark.parametrize("status", ["QUEUED", "PROCESSING"])
def test_who_waits_knows_its_place_and_when_to_look_again(steady: Published, status: str) -> None:
    jobs = [steady.submit() for _ in range(3)]
    steady.block(10)
    change(steady.service.engine, "UPDATE jobs SET status = :status", status=status)
    steady.publish()
    for number, job in enumerate(jobs, 1):
        answer = steady.client.status(job)
        position, eta = known_by(answer)
        assert position == number
        assert eta is not None
        assert 8 < eta < 10 + 2 + number
        assert int(answer.headers["Retry-After"]) == ceil(eta)


def test_nobody_stays_away_for_long(steady: Published) -> None:
    job = steady.submit()
    steady.block(3600)
    steady.publish()
    answer = steady.client.status(job)
    _, eta = known_by(answer)
    assert eta is not None
    assert eta > 3000
    assert answer.headers["Retry-After"] == str(LONGEST_PAUSE)


def test_where_nobody_serves_the_place_is_known_alone(steady: Published) -> None:
    job = steady.submit()
    steady.block(900, out_of_quota=True)
    steady.publish()
    answer = steady.client.status(job)
    assert known_by(answer) == (1, None)
    assert answer.headers["Retry-After"] == str(LONGEST_PAUSE)


def test_a_job_that_came_after_the_forecast_is_not_guessed_at(steady: Published) -> None:
    steady.block(60)
    steady.submit()
    steady.publish()
    answer = steady.client.status(steady.submit())
    assert known_by(answer) == (None, None)
    assert answer.headers["Retry-After"] == "1"


@contextmanager
def publishing_every_second(of: Pipeline, redis: Redis) -> Generator[None]:
    """As the dispatcher does."""
    stopping, errors = threading.Event(), list[BaseException]()

    def publish() -> None:
        verb = publishing(of, redis)
        while not stopping.wait(eta.INTERVAL_SECONDS):
            try:
                of.beat()
                verb.run_once()
            except BaseException as error:  # noqa: BLE001  # a thread's error is the test's
                errors.append(error)
                return

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    assert not errors, errors


@dataclass(frozen=True)
class Promise:
    """What a poll said."""

    job: str
    position: int
    eta: float


def poll(of: Published, jobs: list[str]) -> list[Promise]:
    """Ask for each job once; the promises to those that wait."""
    promises = list[Promise]()
    for job in jobs:
        answer = of.client.status(job)
        if answer.json()["status"] == "QUEUED":
            position, eta = known_by(answer)
            if position is not None and eta is not None:
                assert abs(int(answer.headers["Retry-After"]) - min(LONGEST_PAUSE, eta)) <= 1
                promises.append(Promise(job, position, eta))
    return promises


def test_over_a_drained_backlog_everybody_knows_place_and_time(
    engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """On a stack that knows no call yet. How well the promises are kept is measured: bench row `eta`."""
    common = {"window_seconds": 5, "guard_ms": 200, "latency_ms": [300, 500]}
    deployments = {"east": {"rpm": 18, **common}, "west": {"rpm": 12, **common}}
    with published(engine, database_url, redis_url, tmp_path, deployments) as made:
        jobs = [request_id(MODEL, "generate", job_id) for job_id in made.pipeline.submit(60)]
        made.publish()
        began = time.monotonic()
        first = poll(made, jobs[::2])
        took = time.monotonic() - began
        rounds = [first]
        with (
            fleet.Crew(made.pipeline, dispatchers=1, workers=32) as crew,
            publishing_every_second(made.pipeline, made.redis),
        ):
            while len(made.pipeline.final) < len(jobs):
                rounds.append(poll(made, jobs[len(made.pipeline.final) :: 2]))
                crew.await_final(min(len(jobs), len(made.pipeline.final) + 1))
        for job in jobs[::20]:
            assert_final(made.client.status(job), engine)
    assert [promise.position for promise in first] == list(range(1, 60, 2))
    # Time goes on between two polls, and what is left of a wait is rounded.
    assert all(before.eta <= after.eta + took + 0.1 for before, after in pairwise(first))
    assert any(rounds[1:]), "some jobs are asked for while others are served"
    last = {promise.job: promise.position for one in rounds for promise in one}
    assert all(last[promise.job] <= promise.position for promise in first), "nobody falls behind"


def test_a_waiting_job_says_when_to_look_again(service: Service) -> None:
    client = service.client()
    answer = client.status(client.generate().json()["request_id"])
    assert answer.json()["status"] == "QUEUED"
    assert int(answer.headers["retry-after"]) >= 1
