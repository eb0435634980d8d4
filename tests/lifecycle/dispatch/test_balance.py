"""Among deployments of one order the earliest start decides, call by call; cost only between equal starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.pipeline import Pipeline, RunningPipeline
from tests.upstreams import COSTS, catalog_of, upstreams


@pytest.fixture
def started(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Any]:
    """Starts pipelines with the deployments of some names."""
    running = list[RunningPipeline]()

    def start(*names: str, **given: Any) -> Pipeline:
        context = RunningPipeline(
            engine, database_url, tmp_path, upstreams=upstreams(), catalog=catalog_of(*names, **given)
        )
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


def _served(pipeline: Pipeline) -> Counter[str]:
    return Counter(
        {
            row.deployment: row.count
            for row in pipeline.rows(
                "SELECT deployment, sum(image_count)::int AS count FROM attempts GROUP BY deployment"
            )
        }
    )


def test_several_images_start_at_once_on_several_paced_deployments(started: Any) -> None:
    pipeline: Pipeline = started("east", "west", "openrouter", "aiml", pace=True, rpm=600)
    (job_id,) = pipeline.submit(image_count=4)
    assert pipeline.dispatch.run_once() == 4
    assert _served(pipeline) == {"east": 1, "west": 1, "openrouter": 1, "aiml": 1}
    pipeline.answer()
    assert pipeline.status(job_id) == "COMPLETED"
    rows = pipeline.rows("SELECT ordinal, storage_key FROM images ORDER BY ordinal")
    assert [row.ordinal for row in rows] == [1, 2, 3, 4]
    assert len({row.storage_key for row in rows}) == 4


def test_between_equal_starts_the_cheapest_deployment_serves(started: Any) -> None:
    pipeline: Pipeline = started("aiml", "west", "east")
    pipeline.submit(8)
    assert pipeline.dispatch.run_once() == 8
    assert _served(pipeline) == {"east": 8}


def test_a_call_for_several_images_counts_as_that_many(started: Any) -> None:
    pipeline: Pipeline = started("east", "omixa", pace=True, rpm=600)
    pipeline.submit(image_count=4)
    assert pipeline.dispatch.run_once() == 2
    assert _served(pipeline) == {"east": 1, "omixa": 3}


def test_a_call_serves_one_job_however_many_images_it_may_bring(started: Any) -> None:
    pipeline: Pipeline = started("east", "omixa", "pixazo", pace=True, rpm=600)
    pipeline.submit(6)
    assert pipeline.dispatch.run_once() == 6
    assert _served(pipeline) == {"east": 2, "omixa": 2, "pixazo": 2}


def test_a_deployment_that_cannot_serve_a_job_takes_no_call_of_it(started: Any) -> None:
    pipeline: Pipeline = started("east", "aiml", pace=True, rpm=600)
    pipeline.submit(3, prompt="a long one " * 400)
    assert pipeline.dispatch.run_once() == 3
    assert _served(pipeline) == {"east": 3}


def test_what_rivals_leave_is_started_in_the_same_pass(started: Any) -> None:
    pipeline: Pipeline = started("east", "aiml", pace=True, rpm=600)
    pipeline.submit(2, prompt="a long one " * 400)
    pipeline.submit(1)
    assert pipeline.dispatch.run_once() == 3
    assert _served(pipeline).total() == 3


def test_a_large_backlog_uses_every_token(started: Any) -> None:
    pipeline: Pipeline = started(*COSTS, rpm=3, changes={"omixa": {"max_in_flight": 1}})
    pipeline.submit(40)
    assert pipeline.dispatch.run_once() == 5 * 3 + 1
    assert _served(pipeline) == {name: 1 if name == "omixa" else 3 for name in COSTS}


def test_a_later_order_is_no_rival(started: Any) -> None:
    pipeline: Pipeline = started("east", "west", pace=True, rpm=600, changes={"west": {"order": 2}})
    pipeline.submit(4)
    assert pipeline.dispatch.run_once() == 4
    assert _served(pipeline) == {"east": 4}


def test_a_later_order_takes_the_calls_for_the_images_that_are_left(started: Any) -> None:
    """Of 15 images that still wait the first starts one each 1.2 s: five in time. Ten are three calls."""
    pipeline: Pipeline = started(
        "east", "omixa", changes={"east": {"pace": True, "rpm": 50}, "omixa": {"order": 2}}
    )
    pipeline.submit(4, image_count=4)
    pipeline.dispatch.run_once()
    rows = pipeline.rows("SELECT deployment, count(*) FROM attempts GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("east", 1), ("omixa", 3)]


def test_an_earlier_order_keeps_all_the_images_of_its_calls(started: Any) -> None:
    pipeline: Pipeline = started(
        "east", "omixa", changes={"omixa": {"pace": True, "rpm": 50}, "east": {"order": 2}}
    )
    pipeline.submit(4, image_count=4)
    pipeline.dispatch.run_once()
    assert _served(pipeline) == {"omixa": 4}
