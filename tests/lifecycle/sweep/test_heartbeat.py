"""A heartbeat speaks for the process, and for the attempts that it has in hand."""

from __future__ import annotations

from imagequeue.lifecycle.sweep.heartbeat import Heartbeat
from imagequeue.store.processes import ProcessRecord
from tests.lifecycle.steps import calling
from tests.pipeline import Pipeline


def test_a_process_that_comes_back_has_its_calls_again(pipeline: Pipeline) -> None:
    job_id, _ = calling(pipeline)
    pipeline.execute("DELETE FROM processes")
    process = ProcessRecord(pipeline.process_id, "worker", "test", 1, ("generate.interactive",), 8)
    assert Heartbeat(pipeline.runtime.engine, process, lambda: 8).run_once() == 0
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_an_attempt_that_its_live_process_no_longer_has_in_hand_is_rescued(pipeline: Pipeline) -> None:
    job_id, attempt_id = calling(pipeline)
    process = ProcessRecord(pipeline.process_id, "worker", "test", 1, ("generate.interactive",), 8)
    heartbeat = Heartbeat(pipeline.runtime.engine, process, lambda: 8)
    pipeline.execute("UPDATE attempts SET call_deadline = clock_timestamp()")
    with heartbeat.in_flight.take(attempt_id):
        heartbeat.run_once()
        assert pipeline.sweep.recover() == 0
    pipeline.execute("UPDATE attempts SET call_deadline = clock_timestamp()")
    heartbeat.run_once()
    assert pipeline.sweep.recover() == 1
    assert pipeline.states(job_id) == ["UNKNOWN"]
