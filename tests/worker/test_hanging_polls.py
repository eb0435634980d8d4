"""A status route that hangs: the real dispatcher and worker go on with everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.providers.registry import PROVIDERS
from tests.builders import MODEL
from tests.eventually import eventually
from tests.pipeline import Pipeline, RunningPipeline
from tests.worker.running import PROGRAM, QUEUE, running_process

pytestmark = pytest.mark.long

SLOTS = 8
HANGING, HEALTHY = 40, 8
OTHER_MODEL = "microsoft-mai-image-2"
CATALOG = f"""
[[models]]
id = "{MODEL}"
price_usd = "0.039"

[[models]]
id = "{OTHER_MODEL}"
price_usd = "0.039"

[[deployments]]
name = "polled"
model = "{MODEL}"
provider = "pixazo"
upstream_model = "{MODEL}"
endpoint = "URL/pixazo"
key_env = "TEST_KEY"
rpm = 1000
pace = false
cold_start = "fresh"

[[deployments]]
name = "healthy"
model = "{OTHER_MODEL}"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "URL/east"
key_env = "TEST_KEY"
rpm = 1000
pace = false
cold_start = "fresh"
"""


@pytest.fixture
def running(engine: Engine, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """A dispatcher and a worker beside a pipeline that only submits."""
    path = tmp_path / "two_models.toml"

    def catalog(url: str) -> Catalog:
        path.write_text(CATALOG.replace("URL", url))
        return load_catalog(path, {"TEST_KEY": "upstream-key"}, PROVIDERS)

    with RunningPipeline(engine, database_url, tmp_path, catalog=catalog) as pipeline:
        pipeline.execute("DELETE FROM processes")
        own = {"IMAGEQUEUE_CATALOG": str(path), "TEST_KEY": "upstream-key"}
        worker = (*PROGRAM, "worker", "--queues", QUEUE, "--concurrency", str(SLOTS))
        with (
            running_process(worker, database_url, redis_url, tmp_path, **own),
            running_process((*PROGRAM, "dispatcher"), database_url, redis_url, tmp_path, **own),
        ):
            yield pipeline


def test_jobs_of_a_healthy_model_are_served_while_forty_polls_of_another_hang(
    running: Pipeline, redis_url: str
) -> None:
    running.fault(kind="hang", match={"operation": "poll"})
    slow = running.submit(HANGING)
    sleeping = "SELECT 1 FROM attempts WHERE state = 'SLEEPING'"
    lengths = list[int]()
    with Redis.from_url(redis_url) as redis:  # pyright: ignore[reportUnknownMemberType]

        def until(holds: Callable[[], bool]) -> None:
            def measured() -> bool:
                lengths.append(redis.llen(QUEUE))  # pyright: ignore[reportArgumentType]
                return holds()

            eventually(measured)

        until(lambda: len(running.rows(sleeping)) == HANGING)
        until(lambda: len(running.rows(f"{sleeping} AND polled_by IS NOT NULL")) > 1)
        healthy = running.submit(HEALTHY, model_id=OTHER_MODEL)
        until(lambda: all(running.status(job_id) == "COMPLETED" for job_id in healthy))
        hang = running.rows(f"{sleeping} AND polled_by IS NOT NULL")
        until(lambda: bool(running.rows(f"{sleeping} AND poll_failures > 0")))
    assert len(hang) <= SLOTS // 2, "polls have places of their own"
    assert max(lengths) <= SLOTS + SLOTS // 2, "no more is rung than the worker has places for"
    assert {state for job_id in slow for state in running.states(job_id)} <= {"SLEEPING", "GIVEN_BACK"}
    assert sum(call["operation"] == "generate" for call in running.calls()) == HANGING + HEALTHY
