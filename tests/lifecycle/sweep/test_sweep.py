"""What was lost on the way is found: doorbells, deadlines that have passed, processes that are dead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from imagequeue.domain.ids import new_id
from imagequeue.domain.verdicts import GivenBack
from imagequeue.lifecycle.sweep.heartbeat import Heartbeat
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store import processes
from imagequeue.store.processes import ProcessRecord
from tests.lifecycle.generate.refusing import breaking_commit
from tests.lifecycle.steps import UNTOUCHED, calling, end_back_off, wallet
from tests.lifecycle.storage_outage import Outage
from tests.pipeline import Pipeline


@pytest.mark.parametrize("name", ["start_by", "finish_by"])
def test_a_job_is_not_begun_after_its_deadline(pipeline: Pipeline, name: str) -> None:
    deadline: dict[str, Any] = {name: datetime.now(UTC) + timedelta(minutes=1)}
    (job_id,) = pipeline.submit(**deadline)
    pipeline.execute(f"UPDATE jobs SET {name} = clock_timestamp() - interval '1 ms'")  # noqa: S608  # ours
    assert pipeline.dispatch.run_once() == 0
    assert pipeline.sweep.end_overdue() == 1
    assert pipeline.status(job_id) == "ERROR"
    assert wallet(pipeline) == UNTOUCHED


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
    assert wallet(pipeline) == UNTOUCHED


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
    late = GivenBack("too late for its start", started=True)
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
    end_back_off(pipeline)
    pipeline.run()
    assert [pipeline.status(job_id) for job_id in (completed, ended)] == ["COMPLETED", "ERROR"]
    assert len(pipeline.calls()) == 3


def test_a_process_that_starts_between_two_looks_of_the_sweep_is_not_taken_for_dead(
    pipeline: Pipeline,
) -> None:
    pipeline.sweep.watch()
    late = new_id()
    pipeline.register(late)
    job_id, _ = calling(pipeline, late)
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_a_process_is_buried_only_where_it_was_last_seen(pipeline: Pipeline) -> None:
    with pipeline.runtime.engine.begin() as connection:
        seen = dict(processes.beats(connection))
        processes.beat(connection, pipeline.process_id, 8)
        assert processes.remove_dead(connection, seen) == []
        assert processes.remove_dead(connection, dict(processes.beats(connection))) == [pipeline.process_id]


def test_an_outage_of_the_database_makes_no_attempt_look_abandoned(pipeline: Pipeline) -> None:
    job_id, _ = calling(pipeline)
    pipeline.execute("UPDATE processes SET beat_at = clock_timestamp() - interval '10 minutes'")
    pipeline.execute("UPDATE attempts SET call_deadline = clock_timestamp() - interval '8 minutes'")
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_a_grant_whose_commit_is_unknown_is_rung_by_the_sweep(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    grant = breaking_commit(pipeline.runtime.engine, "INSERT INTO attempts", after=True)
    with grant as broken, pytest.raises(OperationalError):
        pipeline.dispatch.run_once()
    assert broken
    assert (pipeline.dispatch.run_once(), pipeline.rung) == (0, [])
    pipeline.execute("UPDATE attempts SET release_deadline = clock_timestamp() - interval '1 s'")
    assert pipeline.sweep.ring_again() == 1
    pipeline.answer()
    assert pipeline.status(job_id) == "COMPLETED"


def test_processes_are_watched_and_doorbells_rung_while_the_storage_is_away(outage: Outage) -> None:
    outage.storage.away.set()
    outage.pipeline.spill.put("v1/a", b"x", "image/png", {"attempt_id": str(outage.pipeline.process_id)})
    with pytest.raises(StorageUnavailable):
        outage.sweep.rescue.unspill()
    assert outage.sweep.run_once() == 0


def test_a_process_that_comes_back_has_its_calls_again(pipeline: Pipeline) -> None:
    job_id, _ = calling(pipeline)
    pipeline.execute("DELETE FROM processes")
    process = ProcessRecord(pipeline.process_id, "worker", "test", 1, ("generate.interactive",), 8)
    assert Heartbeat(pipeline.runtime.engine, process, lambda: 8).run_once() == 0
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]
