"""Submit-and-poll upstreams: one submit, however often somebody dies or asks again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.backoff import POLLED_DOWNLOAD
from tests.builders import MODEL
from tests.pipeline import Pipeline, RunningPipeline


@pytest.fixture
def pixazo(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with RunningPipeline(
        engine, database_url, tmp_path, upstream="pixazo", provider="pixazo", upstream_model=MODEL
    ) as running:
        yield running


_OVERDUE = "UPDATE attempts SET call_deadline = clock_timestamp() - interval '1 second'"


def _submitted(pipeline: Pipeline) -> UUID:
    """A job that the upstream took, and that sleeps until it is asked for."""
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    pipeline.answer()
    assert pipeline.states(job_id) == ["SLEEPING"]
    return job_id


def _submits(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [call for call in pipeline.calls() if call["operation"] in ("generate", "edit")]


def _poll(pipeline: Pipeline) -> None:
    pipeline.execute("UPDATE attempts SET poll_after = clock_timestamp() WHERE state = 'SLEEPING'")
    pipeline.polls.run_once()
    pipeline.answer()


def test_an_attempt_sleeps_with_its_reference_until_the_result_is_there(pixazo: Pipeline) -> None:
    (job_id,) = pixazo.submit(image_count=2)
    pixazo.dispatch.run_once()
    pixazo.answer()
    assert pixazo.states(job_id) == ["SLEEPING"]
    while pixazo.status(job_id) == "PROCESSING":
        _poll(pixazo)
    assert pixazo.status(job_id) == "COMPLETED"
    assert len(_submits(pixazo)) == 1
    assert pixazo.rows("SELECT count(*) FROM images")[0][0] == 2


def test_a_poll_that_fails_asks_again_and_never_submits_again(pixazo: Pipeline) -> None:
    (job_id,) = pixazo.submit()
    pixazo.dispatch.run_once()
    pixazo.answer()
    pixazo.fault(kind="status", status=500, match={"operation": "poll"}, count=2)
    for _ in range(2):
        _poll(pixazo)
        assert pixazo.states(job_id) == ["SLEEPING"]
    while pixazo.status(job_id) == "PROCESSING":
        _poll(pixazo)
    assert pixazo.status(job_id) == "COMPLETED"
    assert len(_submits(pixazo)) == 1


def test_a_result_that_never_comes_ends_with_the_deadline(pixazo: Pipeline) -> None:
    pixazo.fault(kind="job_stuck", count=1)
    job_id = _submitted(pixazo)
    _poll(pixazo)
    assert pixazo.states(job_id) == ["SLEEPING"]
    pixazo.execute(_OVERDUE)
    _poll(pixazo)
    assert pixazo.states(job_id) == ["UNKNOWN"]


def test_an_upstream_that_is_out_at_the_deadline_is_given_up(pixazo: Pipeline) -> None:
    job_id = _submitted(pixazo)
    pixazo.fault(kind="reset", match={"operation": "poll"}, count=2)
    _poll(pixazo)
    assert pixazo.states(job_id) == ["SLEEPING"]
    pixazo.execute(_OVERDUE)
    _poll(pixazo)
    assert pixazo.states(job_id) == ["UNKNOWN"]


def test_a_result_that_is_there_is_fetched_however_late(pixazo: Pipeline) -> None:
    """Nobody asked until the deadline had passed, because everything was down."""
    job_id = _submitted(pixazo)
    pixazo.execute(_OVERDUE)
    _poll(pixazo)
    assert (pixazo.status(job_id), pixazo.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert len(_submits(pixazo)) == 1


@pytest.mark.parametrize("status", [404, 410, 400])
def test_an_upstream_that_forgets_a_request_for_a_moment_is_asked_again(
    pixazo: Pipeline, status: int
) -> None:
    job_id = _submitted(pixazo)
    pixazo.fault(kind="status", status=status, match={"operation": "poll"}, count=2)
    for _ in range(2):
        _poll(pixazo)
        assert pixazo.states(job_id) == ["SLEEPING"]
    while pixazo.status(job_id) == "PROCESSING":
        _poll(pixazo)
    assert (pixazo.status(job_id), len(_submits(pixazo))) == ("COMPLETED", 1)


def test_an_upstream_that_does_not_know_a_request_at_its_deadline_is_believed(pixazo: Pipeline) -> None:
    job_id = _submitted(pixazo)
    pixazo.fault(kind="status", status=404, match={"operation": "poll"}, count=1)
    pixazo.execute(_OVERDUE)
    _poll(pixazo)
    assert pixazo.states(job_id) == ["UNAVAILABLE"]


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 404}, {"kind": "reset"}])
def test_behind_a_broken_link_the_upstream_is_asked_for_a_fresh_one(
    pixazo: Pipeline, fault: dict[str, Any]
) -> None:
    (job_id,) = pixazo.submit(image_count=2)
    pixazo.dispatch.run_once()
    pixazo.answer()
    more_than_one_poll = POLLED_DOWNLOAD.tries + 1
    pixazo.fault(**fault, match={"operation": "download"}, count=more_than_one_poll)
    while pixazo.status(job_id) == "PROCESSING":
        _poll(pixazo)
    assert (pixazo.status(job_id), pixazo.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert len(_submits(pixazo)) == 1
