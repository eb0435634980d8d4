"""Submit-and-poll upstreams: one submit, however often somebody dies or asks again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.backoff import POLLED_DOWNLOAD
from imagequeue.domain.breaker import FAILURES
from imagequeue.domain.ids import new_id, request_id
from imagequeue.media.keys import output_key
from imagequeue.store.attempts import deployments, polls
from tests.builders import MODEL
from tests.media.pictures import picture
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


def test_an_attempt_sleeps_with_its_reference_until_the_result_is_there(pixazo: Pipeline) -> None:
    (job_id,) = pixazo.submit(image_count=2)
    pixazo.dispatch.run_once()
    pixazo.answer()
    assert pixazo.states(job_id) == ["SLEEPING"]
    while pixazo.status(job_id) == "PROCESSING":
        pixazo.poll()
    assert pixazo.status(job_id) == "COMPLETED"
    assert len(_submits(pixazo)) == 1
    assert pixazo.rows("SELECT count(*) FROM images")[0][0] == 2


def test_a_poll_that_fails_asks_again_and_never_submits_again(pixazo: Pipeline) -> None:
    (job_id,) = pixazo.submit()
    pixazo.dispatch.run_once()
    pixazo.answer()
    pixazo.fault(kind="status", status=500, match={"operation": "poll"}, count=2)
    for _ in range(2):
        pixazo.poll()
        assert pixazo.states(job_id) == ["SLEEPING"]
    while pixazo.status(job_id) == "PROCESSING":
        pixazo.poll()
    assert pixazo.status(job_id) == "COMPLETED"
    assert len(_submits(pixazo)) == 1


def test_a_result_that_never_comes_ends_with_the_deadline(pixazo: Pipeline) -> None:
    pixazo.fault(kind="job_stuck", count=1)
    job_id = _submitted(pixazo)
    pixazo.poll()
    assert pixazo.states(job_id) == ["SLEEPING"]
    pixazo.execute(_OVERDUE)
    pixazo.poll()
    assert pixazo.states(job_id) == ["UNKNOWN"]


def test_an_upstream_that_is_out_at_the_deadline_is_given_up(pixazo: Pipeline) -> None:
    job_id = _submitted(pixazo)
    pixazo.fault(kind="reset", match={"operation": "poll"}, count=2)
    pixazo.poll()
    assert pixazo.states(job_id) == ["SLEEPING"]
    pixazo.execute(_OVERDUE)
    pixazo.poll()
    assert pixazo.states(job_id) == ["UNKNOWN"]


def test_a_result_that_is_there_is_fetched_however_late(pixazo: Pipeline) -> None:
    """Nobody asked until the deadline had passed, because everything was down."""
    job_id = _submitted(pixazo)
    pixazo.execute(_OVERDUE)
    pixazo.poll()
    assert (pixazo.status(job_id), pixazo.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert len(_submits(pixazo)) == 1


@pytest.mark.parametrize("status", [404, 410, 400])
def test_an_upstream_that_forgets_a_request_for_a_moment_is_asked_again(
    pixazo: Pipeline, status: int
) -> None:
    job_id = _submitted(pixazo)
    pixazo.fault(kind="status", status=status, match={"operation": "poll"}, count=2)
    for _ in range(2):
        pixazo.poll()
        assert pixazo.states(job_id) == ["SLEEPING"]
    while pixazo.status(job_id) == "PROCESSING":
        pixazo.poll()
    assert (pixazo.status(job_id), len(_submits(pixazo))) == ("COMPLETED", 1)


def test_an_upstream_that_does_not_know_a_request_at_its_deadline_is_believed(pixazo: Pipeline) -> None:
    job_id = _submitted(pixazo)
    pixazo.fault(kind="status", status=404, match={"operation": "poll"}, count=1)
    pixazo.execute(_OVERDUE)
    pixazo.poll()
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
        pixazo.poll()
    assert (pixazo.status(job_id), pixazo.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert len(_submits(pixazo)) == 1


@pytest.mark.parametrize("place", ["the storage", "the spill directory"])
def test_an_image_that_an_earlier_poll_has_stored_is_not_bought_again_because_its_link_is_broken_now(
    pixazo: Pipeline, place: str
) -> None:
    job_id = _submitted(pixazo)
    (attempt_id,) = pixazo.rows("SELECT id FROM attempts")[0]
    key = output_key(request_id(MODEL, "generate", job_id), attempt_id, 1, "png")
    if place == "the storage":
        pixazo.runtime.storage.put(key, picture(), "image/png")
    else:
        pixazo.spill.put(key, picture(), "image/png", {"attempt_id": str(attempt_id)})
    pixazo.fault(kind="status", status=404, match={"operation": "download"})
    pixazo.execute(_OVERDUE)
    pixazo.poll()
    assert (pixazo.status(job_id), pixazo.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert pixazo.runtime.storage.get(key) == picture()
    assert len(_submits(pixazo)) == 1


def _sleeping(pipeline: Pipeline, count: int) -> list[UUID]:
    """Jobs that the upstream took, and their attempts sleep."""
    jobs = pipeline.submit(count)
    while pipeline.dispatch.run_once():
        pipeline.answer()
    assert {state for job_id in jobs for state in pipeline.states(job_id)} == {"SLEEPING"}
    return jobs


def _make_due(pipeline: Pipeline) -> None:
    pipeline.execute("UPDATE attempts SET poll_after = clock_timestamp()")


def test_polls_that_hang_leave_places_and_nothing_is_rung_while_it_runs(pixazo: Pipeline) -> None:
    pixazo.execute("UPDATE processes SET slots = 16")  # eight for each lane, so four places for polls
    _sleeping(pixazo, 12)
    _make_due(pixazo)
    assert pixazo.polls.run_once() == 2, "half of the places"
    with pixazo.runtime.engine.begin() as connection:
        for doorbell in pixazo.rung:
            assert polls.begin_poll(connection, doorbell.attempt_id, pixazo.process_id)
    for _ in range(5):
        _make_due(pixazo)
        assert pixazo.polls.run_once() == 0, "all that are rung for hang"
    pixazo.execute("UPDATE attempts SET poll_leased_until = clock_timestamp()")
    _make_due(pixazo)
    assert pixazo.polls.run_once() == 2, "the lease of a poll that nobody renews runs out"


def test_while_no_worker_lives_no_poll_is_rung_for(pixazo: Pipeline) -> None:
    _sleeping(pixazo, 3)
    _make_due(pixazo)
    pixazo.execute("UPDATE processes SET beat_at = clock_timestamp() - interval '1 minute'")
    assert pixazo.polls.run_once() == 0
    pixazo.beat()
    assert pixazo.polls.run_once() == 3


def test_two_processes_never_ask_for_one_attempt_at_a_time(pixazo: Pipeline) -> None:
    job_id = _submitted(pixazo)
    other = new_id()
    pixazo.register(other)
    (attempt,) = pixazo.rows("SELECT id FROM attempts")
    with pixazo.runtime.engine.begin() as connection:
        assert polls.begin_poll(connection, attempt.id, other)
        assert not polls.begin_poll(connection, attempt.id, pixazo.process_id)
    pixazo.generation.run(attempt.id)
    assert len(pixazo.calls()) == 1, "the submit alone"
    with pixazo.runtime.engine.begin() as connection:
        assert polls.end_poll(connection, attempt.id, pixazo.process_id, 1, failed=False) is None
        assert polls.end_poll(connection, attempt.id, other, 1, failed=False) == 0
    pixazo.poll()
    assert pixazo.status(job_id) == "COMPLETED"


def test_the_poll_of_a_process_that_was_found_dead_is_asked_by_another(pixazo: Pipeline) -> None:
    job_id = _submitted(pixazo)
    with pixazo.runtime.engine.begin() as connection:
        (attempt,) = pixazo.rows("SELECT id FROM attempts")
        assert polls.begin_poll(connection, attempt.id, new_id())
    pixazo.poll()
    assert pixazo.status(job_id) == "COMPLETED"


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 503}, {"kind": "status", "status": 401}, {"kind": "reset"}]
)
def test_polls_that_fail_open_the_breaker_and_nothing_is_submitted_again(
    pixazo: Pipeline, fault: dict[str, Any]
) -> None:
    jobs = _sleeping(pixazo, FAILURES)
    pixazo.fault(match={"operation": "poll"}, count=2 * FAILURES, **fault)
    for _ in range(2):
        pixazo.poll()
        with pixazo.runtime.engine.connect() as connection:
            (state,) = deployments.read_states(connection).values()
        assert (state.failures, state.breaker) == (FAILURES, "open")
    assert {state for job_id in jobs for state in pixazo.states(job_id)} == {"SLEEPING"}
    assert len(_submits(pixazo)) == FAILURES
    while any(pixazo.status(job_id) == "PROCESSING" for job_id in jobs):
        pixazo.poll()
    assert {pixazo.status(job_id) for job_id in jobs} == {"COMPLETED"}
    assert len(_submits(pixazo)) == FAILURES


def test_one_attempt_whose_polls_fail_opens_no_breaker(pixazo: Pipeline) -> None:
    _submitted(pixazo)
    pixazo.fault(kind="status", status=500, match={"operation": "poll"})
    for _ in range(FAILURES + 1):
        pixazo.poll()
    with pixazo.runtime.engine.connect() as connection:
        (state,) = deployments.read_states(connection).values()
    assert (state.failures, state.breaker) == (1, "closed")
