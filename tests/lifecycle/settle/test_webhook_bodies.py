"""A webhook says what the job's dialect says, where it has words of its own; else it is the status body."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from imagequeue.domain.job_view import JobView
from imagequeue.domain.jobs import JobStatus
from tests.dialects.with_second import WITH_SECOND
from tests.pipeline import Pipeline, RunningPipeline

ORIGIN = "https://images.example.com"
URL = "https://hooks.example.com/cb"
Write = Callable[[JobView], Mapping[str, Any]]


@pytest.fixture
def pipeline(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with RunningPipeline(engine, database_url, tmp_path) as pipeline:
        use(pipeline, WITH_SECOND.webhook_bodies(ORIGIN))
        yield pipeline


def use(pipeline: Pipeline, bodies: Mapping[str, Write]) -> None:
    job_end = replace(pipeline.settlement.job_end, webhook_bodies=bodies)
    settlement = replace(pipeline.settlement, job_end=job_end)
    pipeline.settlement = settlement
    recorder = replace(pipeline.generation.recorder, settlement=settlement)
    pipeline.generation = replace(pipeline.generation, recorder=recorder)


def told(pipeline: Pipeline) -> Any:
    """The bodies of the one delivery and of the one job."""
    (row,) = pipeline.rows("""
        SELECT deliveries.body AS webhook, job_results.body AS status
        FROM deliveries JOIN job_results USING (job_id)
    """)
    return row


def test_a_dialect_with_a_webhook_of_its_own_writes_it(pipeline: Pipeline) -> None:
    pipeline.submit(dialect="second", webhook_url=URL, notes='{"label": "red"}')
    pipeline.run()
    webhook, status = map(json.loads, told(pipeline))
    assert webhook == {
        "event": "picture",
        "from": ORIGIN,
        "id": status["request_id"],
        "state": "completed",
        "label": "red",
        "pictures": status["output"]["media_url"],
        "failure": None,
    }


def test_a_job_that_fails_is_told_of_in_the_same_words(pipeline: Pipeline) -> None:
    ids = pipeline.submit(dialect="second", webhook_url=URL, notes='{"label": "red"}')
    pipeline.settlement.end(ids, JobStatus.FAILED, "cancelled")
    webhook = json.loads(told(pipeline).webhook)
    assert (webhook["state"], webhook["failure"], webhook["pictures"]) == ("failed", "cancelled", [])


@pytest.mark.parametrize("dialect", ["pixazo", "one that is no longer installed"])
def test_every_other_job_has_the_status_body_byte_for_byte(pipeline: Pipeline, dialect: str) -> None:
    pipeline.submit(dialect=dialect, webhook_url=URL)
    pipeline.run()
    row = told(pipeline)
    assert row.webhook == row.status


def _breaks(job: JobView) -> Mapping[str, Any]:
    raise RuntimeError(job.request.prompt)


BROKEN: dict[str, Write] = {
    "raises": _breaks,
    "says nothing that is JSON": lambda job: {"id": job.job_id},
}


@pytest.mark.parametrize("write", BROKEN.values(), ids=BROKEN.keys())
def test_a_dialect_that_breaks_costs_its_own_words_and_no_second_call(
    pipeline: Pipeline,
    write: Write,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The logs are looked for where they go: elsewhere once a test has started a program in this process."""
    use(pipeline, {"second": write})
    (job_id,) = pipeline.submit(dialect="second", webhook_url=URL, prompt="a secret fox")
    pipeline.run()
    row = told(pipeline)
    assert (pipeline.status(job_id), row.webhook) == ("COMPLETED", row.status)
    assert len(pipeline.calls()) == 1
    logged = "".join((*capfd.readouterr(), caplog.text))
    assert "webhook_body_failed" in logged
    assert "secret" not in logged


def test_text_that_cannot_be_stored_is_stored_as_far_as_it_can(pipeline: Pipeline) -> None:
    use(pipeline, {"second": lambda _: {"half a character": "\ud800", "nul": "\0"}})
    pipeline.submit(dialect="second", webhook_url=URL)
    pipeline.run()
    assert json.loads(told(pipeline).webhook) == {"half a character": "?", "nul": "\0"}
