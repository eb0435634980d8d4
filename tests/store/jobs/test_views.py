"""A stored job as dialects see it: from it, Pixazo's dialect writes the very bytes that settle has fixed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.dialects.dialect import ClientRequest
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.ids import new_id
from imagequeue.domain.job_view import JobView
from imagequeue.domain.jobs import JobStatus
from imagequeue.store.jobs.retention import forget_jobs
from imagequeue.store.jobs.views import read_views
from tests.builders import PRICE
from tests.pipeline import Pipeline, RunningPipeline

PIXAZO = DIALECTS.at("/")


@pytest.fixture
def pipeline(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with RunningPipeline(engine, database_url, tmp_path) as pipeline:
        yield pipeline


def views(pipeline: Pipeline, *job_ids: UUID) -> dict[UUID, JobView]:
    with pipeline.runtime.engine.connect() as connection:
        return read_views(connection, job_ids, pipeline.settlement.job_end.media_url)


def fixed(pipeline: Pipeline, job_id: UUID) -> Any:
    return pipeline.rows("SELECT body FROM job_results WHERE job_id = :id", id=job_id)[0].body


def test_a_final_job_is_rendered_as_it_was_fixed(pipeline: Pipeline) -> None:
    completed, cancelled, late = pipeline.submit(), pipeline.submit(), pipeline.submit()
    pipeline.settlement.end(cancelled, JobStatus.FAILED, "cancelled: „so“")
    pipeline.settlement.end(late, JobStatus.ERROR, "too late")
    pipeline.run()
    ids = [*completed, *cancelled, *late]
    found = views(pipeline, *ids, new_id())
    assert list(map(found.__contains__, ids)) == [True] * 3
    assert len(found) == 3
    (route,) = PIXAZO.routes
    asked = ClientRequest(route, {}, {}, {}, "")
    for job_id in ids:
        assert PIXAZO.render(asked, found[job_id]).body == fixed(pipeline, job_id)


def test_a_job_shows_what_was_asked_for_and_what_it_costs(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=2, prompt="two foxes", notes='{"label": "red"}')
    waiting = views(pipeline, job_id)[job_id]
    assert (waiting.status, waiting.images, waiting.completed_at) == (JobStatus.QUEUED, (), None)
    assert (waiting.request.prompt, waiting.request.image_count) == ("two foxes", 2)
    assert (waiting.price_usd, waiting.notes, waiting.dialect) == (2 * PRICE, {"label": "red"}, "pixazo")
    pipeline.run()
    job = views(pipeline, job_id)[job_id]
    assert (job.status, job.notes) == (JobStatus.COMPLETED, {"label": "red"})
    assert [(image.width, image.height, image.media_type) for image in job.images] == [
        (1024, 1024, "image/png")
    ] * 2
    assert all(pipeline.runtime.storage.get(image.storage_key) for image in job.images)
    assert [image.url for image in job.images] == [
        pipeline.settlement.job_end.media_url(image.storage_key) for image in job.images
    ]


def test_images_of_a_job_that_is_not_completed_are_not_shown(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=2)
    pipeline.dispatch.run_once()
    pipeline.generation.run(pipeline.rung.pop().attempt_id)
    assert len(pipeline.rows("SELECT 1 FROM images")) == 1
    assert views(pipeline, job_id)[job_id].images == ()


def test_a_forgotten_job_is_not_shown_and_its_notes_are_gone(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(notes='{"label": "red"}')
    pipeline.run()
    with pipeline.runtime.engine.begin() as connection:
        forget_jobs(connection, [job_id])
    assert views(pipeline, job_id) == {}
    assert pipeline.rows("SELECT notes FROM job_requests")[0].notes is None
