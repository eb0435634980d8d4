"""When trying ends: deaths, doubts that may not be repeated, faults of our own, deadlines, cancelling."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.verdicts import GivenBack
from imagequeue.lifecycle.settle.settle import Settlement
from tests.builders import account
from tests.pipeline import Pipeline, RunningPipeline

UNTOUCHED = [(1000, 0, 0)]


@pytest.fixture
def cautious(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with RunningPipeline(engine, database_url, tmp_path, retry_ambiguous=False) as running:
        yield running


def _wallet(pipeline: Pipeline) -> list[object]:
    return pipeline.rows(
        "SELECT available, held, spent FROM wallets WHERE account_id = :id", id=pipeline.account_id
    )


def _hurry(pipeline: Pipeline) -> None:
    pipeline.execute("UPDATE jobs SET not_before = NULL")


def _die_while_calling(pipeline: Pipeline) -> None:
    _hurry(pipeline)
    assert pipeline.dispatch.run_once() == 1
    pipeline.rung.clear()
    pipeline.execute(
        "UPDATE attempts SET state = 'CALLING', process_id = gen_random_uuid() WHERE state = 'RELEASED'"
    )
    assert pipeline.sweep.recover() == 1


def test_a_job_whose_calls_kill_three_processes_is_an_error_and_free(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    for _ in range(2):
        _die_while_calling(pipeline)
        assert pipeline.status(job_id) == "PROCESSING"
    _die_while_calling(pipeline)
    assert pipeline.status(job_id) == "ERROR"
    assert _wallet(pipeline) == UNTOUCHED


def _die_with(pipeline: Pipeline, process_ids: list[UUID]) -> None:
    """Everything that is released is called, by these processes in turn, and all of them die."""
    open_attempts = pipeline.rows("SELECT id FROM attempts WHERE state = 'RELEASED' ORDER BY id")
    pipeline.rung.clear()
    for number, row in enumerate(open_attempts):
        pipeline.execute(
            "UPDATE attempts SET state = 'CALLING', process_id = :process_id WHERE id = :id",
            id=row.id,
            process_id=process_ids[number % len(process_ids)],
        )
    assert pipeline.sweep.recover() == len(open_attempts)


def test_four_calls_of_one_process_that_dies_are_one_death_and_one_failure(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=4)
    assert pipeline.dispatch.run_once() == 4
    _die_with(pipeline, [uuid4()])
    rows = pipeline.rows("SELECT status, wanted, deaths, failures FROM jobs")
    assert [tuple(row) for row in rows] == [("PROCESSING", 4, 1, 1)]
    assert pipeline.states(job_id) == ["UNKNOWN"] * 4
    _hurry(pipeline)
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"


def test_two_processes_that_die_at_once_are_two_deaths_and_the_third_is_the_last(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=4)
    assert pipeline.dispatch.run_once() == 4
    _die_with(pipeline, [uuid4(), uuid4()])
    assert [tuple(row) for row in pipeline.rows("SELECT deaths, failures FROM jobs")] == [(2, 1)]
    _hurry(pipeline)
    assert pipeline.dispatch.run_once() == 4
    _die_with(pipeline, [uuid4()])
    assert pipeline.status(job_id) == "ERROR"
    assert _wallet(pipeline) == UNTOUCHED


def test_a_process_that_loses_calls_again_and_again_ends_the_job_after_its_attempts(
    pipeline: Pipeline,
) -> None:
    (job_id,) = pipeline.submit()
    process_id = uuid4()  # it lives on: its threads end without a word
    for _ in range(5):
        _hurry(pipeline)
        assert pipeline.dispatch.run_once() == 1
        _die_with(pipeline, [process_id])
    assert [tuple(row) for row in pipeline.rows("SELECT deaths, failures FROM jobs")] == [(1, 5)]
    _hurry(pipeline)
    assert pipeline.dispatch.run_once() == 1
    _die_with(pipeline, [process_id])
    assert pipeline.status(job_id) == "ERROR"


def test_an_outage_uses_up_rounds_and_not_the_calls_of_one_round(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=4)
    pipeline.fault(kind="status", status=500, count=6)
    delays = list[float]()
    for failures in (1, 2):
        assert pipeline.dispatch.run_once() == 4
        pipeline.generation.run(pipeline.rung.pop(0).attempt_id)
        (row,) = pipeline.rows("SELECT extract(epoch FROM not_before - failed_at)::float8 AS delay FROM jobs")
        delays.append(row.delay)
        pipeline.answer()
        assert pipeline.rows("SELECT failures FROM jobs") == [(failures,)]
        _hurry(pipeline)
    assert 0.5 <= delays[0] <= 1 <= delays[1] <= 2
    assert pipeline.states(job_id).count("UNAVAILABLE") == 6
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"


def test_an_outage_that_lasts_ends_a_job_after_its_rounds_however_many_images_it_has(
    pipeline: Pipeline,
) -> None:
    pipeline.fault(kind="status", status=500)
    (job_id,) = pipeline.submit(image_count=4)
    for _ in range(6):
        pipeline.execute("DELETE FROM deployment_states")  # the breaker is another matter
        _hurry(pipeline)
        assert pipeline.status(job_id) in {"QUEUED", "PROCESSING"}
        assert pipeline.dispatch.run_once() == 4
        pipeline.answer()
    assert pipeline.status(job_id) == "ERROR"
    assert _wallet(pipeline) == UNTOUCHED


def test_a_doubt_that_may_not_be_repeated_is_an_error_and_free(cautious: Pipeline) -> None:
    (job_id,) = cautious.submit()
    cautious.fault(kind="reset", stage="after_admission", count=1)
    cautious.run()
    assert (cautious.status(job_id), cautious.states(job_id)) == ("ERROR", ["UNKNOWN"])
    assert len(cautious.calls()) == 1
    assert _wallet(cautious) == UNTOUCHED


def test_a_doubt_that_may_be_repeated_is_charged_once(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.fault(kind="reset", stage="after_admission", count=1)
    pipeline.run()
    _hurry(pipeline)
    pipeline.run()
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["UNKNOWN", "SUCCEEDED"])
    kinds = pipeline.rows("SELECT kind FROM ledger_entries WHERE job_id IS NOT NULL ORDER BY id")
    assert [row.kind for row in kinds] == ["HOLD", "CAPTURE"]


def test_a_request_that_breaks_the_worker_ends_after_its_attempts(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.execute('UPDATE job_requests SET parameters = \'{"operation": "generate"}\'')
    for _ in range(6):
        _hurry(pipeline)
        pipeline.run()
    assert pipeline.status(job_id) == "ERROR"
    assert set(pipeline.states(job_id)) == {"UNAVAILABLE"}
    assert pipeline.calls() == []
    assert pipeline.rows("SELECT count(*) FROM deployment_states") == [(0,)], "the deployment is not to blame"


def test_what_an_upstream_says_can_always_be_stored(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.fault(
        kind="status",
        status=400,
        body='{"error": {"code": "content_policy_violation", "message": "no\\u0000 \\ud800 way"}}',
        count=1,
    )
    pipeline.run()
    assert pipeline.status(job_id) == "FAILED"


def test_a_process_that_stops_does_not_wait_for_the_database_for_ever(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    nowhere = create_engine(
        "postgresql+psycopg://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1}
    )
    settlement = pipeline.settlement

    class Away(Settlement):
        def settle(
            self,
            attempt_id: UUID,
            outcome: object,
            process_id: UUID | None = None,
            reference: str | None = None,
        ) -> bool:
            del attempt_id, outcome, process_id, reference
            pipeline.stopping.set()
            with nowhere.connect():
                return False

    away = Away(nowhere, settlement.catalog, settlement.media_url, {}, settlement.announce)
    pipeline.generation = replace(pipeline.generation, settlement=away, last_tries=0)
    pipeline.dispatch.run_once()
    thread = threading.Thread(target=pipeline.answer, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert pipeline.states(job_id) == ["CALLING"]
    pipeline.execute("DELETE FROM processes")
    assert pipeline.sweep.recover() == 1
    assert pipeline.status(job_id) == "COMPLETED"
    assert len(pipeline.calls()) == 1


def test_a_cancelled_job_makes_no_call(pipeline: Pipeline) -> None:
    waiting, released = pipeline.submit(2)
    pipeline.execute("UPDATE jobs SET not_before = NULL")
    pipeline.settlement.end([waiting], JobStatus.FAILED, "cancelled")
    assert pipeline.dispatch.run_once() == 1
    pipeline.settlement.end([released], JobStatus.FAILED, "cancelled")
    pipeline.answer()
    assert pipeline.dispatch.run_once() == 0
    assert pipeline.calls() == []
    assert [pipeline.status(job_id) for job_id in (waiting, released)] == ["FAILED", "FAILED"]
    assert _wallet(pipeline) == UNTOUCHED
    assert pipeline.settlement.end([waiting, released], JobStatus.FAILED, "cancelled") == []


def test_a_call_in_flight_of_a_cancelled_job_is_a_cost_and_not_charged(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.fault(kind="delay", seconds=1)
    pipeline.dispatch.run_once()
    thread = threading.Thread(target=pipeline.answer)
    thread.start()
    while pipeline.states(job_id) != ["CALLING"]:
        assert thread.is_alive()
    assert pipeline.settlement.end([job_id], JobStatus.FAILED, "cancelled") == [job_id]
    thread.join(20)
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("FAILED", ["SUCCEEDED"])
    assert pipeline.rows("SELECT duplicate_images FROM attempts") == [(1,)]
    assert pipeline.rows("SELECT count(*) FROM images") == [(0,)]
    assert _wallet(pipeline) == UNTOUCHED


@pytest.mark.parametrize("name", ["start_by", "finish_by"])
def test_a_job_is_not_begun_after_its_deadline(pipeline: Pipeline, name: str) -> None:
    deadline: dict[str, Any] = {name: datetime.now(UTC) + timedelta(minutes=1)}
    (job_id,) = pipeline.submit(**deadline)
    pipeline.execute(f"UPDATE jobs SET {name} = clock_timestamp() - interval '1 ms'")  # noqa: S608  # ours
    assert pipeline.dispatch.run_once() == 0
    assert pipeline.sweep.end_overdue() == 1
    assert pipeline.status(job_id) == "ERROR"
    assert _wallet(pipeline) == UNTOUCHED


@pytest.mark.parametrize("name", ["start_by", "finish_by"])
def test_a_job_that_is_released_is_not_called_after_its_deadline(pipeline: Pipeline, name: str) -> None:
    deadline: dict[str, Any] = {name: datetime.now(UTC) + timedelta(minutes=1)}
    (job_id,) = pipeline.submit(**deadline)
    assert pipeline.dispatch.run_once() == 1
    pipeline.execute(f"UPDATE jobs SET {name} = clock_timestamp() - interval '1 ms'")  # noqa: S608  # ours
    pipeline.answer()
    assert pipeline.states(job_id) == ["GIVEN_BACK"]
    assert pipeline.calls() == []
    assert pipeline.sweep.end_overdue() == 1
    assert pipeline.status(job_id) == "ERROR"
    assert _wallet(pipeline) == UNTOUCHED


def test_a_call_that_was_given_back_is_no_start(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(start_by=datetime.now(UTC) + timedelta(minutes=1))
    pipeline.dispatch.run_once()
    pipeline.execute(
        """
        UPDATE attempts SET state = 'CALLING', process_id = :process_id, called_at = clock_timestamp()
    """,
        process_id=pipeline.process_id,
    )
    (attempt,) = pipeline.rows("SELECT id FROM attempts")
    late = GivenBack("too late for the slot", started=True)
    pipeline.settlement.settle(attempt.id, late, pipeline.process_id)
    pipeline.execute("UPDATE jobs SET start_by = clock_timestamp() - interval '1 ms'")
    assert pipeline.sweep.end_overdue() == 1
    assert pipeline.status(job_id) == "ERROR"


def test_a_started_job_goes_on_past_start_by_and_ends_at_finish_by(pipeline: Pipeline) -> None:
    later = datetime.now(UTC) + timedelta(minutes=1)
    completed, ended = pipeline.submit(2, start_by=later, finish_by=later)
    pipeline.fault(kind="status", status=500, count=2)
    pipeline.run()
    pipeline.execute("UPDATE jobs SET start_by = clock_timestamp() - interval '1 ms'")
    assert pipeline.sweep.end_overdue() == 0
    passed = "UPDATE jobs SET finish_by = clock_timestamp() - interval '1 ms' WHERE id = :id"
    pipeline.execute(passed, id=ended)
    assert pipeline.sweep.end_overdue() == 1
    _hurry(pipeline)
    pipeline.run()
    assert [pipeline.status(job_id) for job_id in (completed, ended)] == ["COMPLETED", "ERROR"]
    assert len(pipeline.calls()) == 3


def test_ending_many_jobs_locks_wallets_in_account_order(pipeline: Pipeline) -> None:
    first, second = sorted([pipeline.account_id, account(pipeline.runtime.engine, "other", "1000")[0]])
    jobs = list[UUID]()
    for account_id in (second, first):  # the older job is of the account that is locked later
        pipeline.account_id = account_id
        jobs += pipeline.submit()
    lock = text("SELECT 1 FROM wallets WHERE account_id = :id FOR UPDATE")
    ending = threading.Thread(target=pipeline.settlement.end, args=(jobs, JobStatus.ERROR, "late"))
    with pipeline.runtime.engine.begin() as connection:
        connection.execute(lock, {"id": first})
        ending.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while not connection.execute(waiting).scalar_one():
            assert ending.is_alive()
        connection.execute(text("SET LOCAL lock_timeout = '2s'"))
        connection.execute(lock, {"id": second})
    ending.join(10)
    assert {pipeline.status(job_id) for job_id in jobs} == {"ERROR"}
