"""An attempt that a thread of the process has in hand: nobody else begins it, or takes it for abandoned."""

from __future__ import annotations

from imagequeue.lifecycle.sweep.heartbeat import Heartbeat
from imagequeue.store.processes import ProcessRecord
from tests.lifecycle.steps import calling
from tests.pipeline import Pipeline


def test_a_second_doorbell_in_the_same_process_is_dropped(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    with pipeline.generation.process.in_flight.take(doorbell.attempt_id):
        pipeline.answer()
    assert pipeline.states(job_id) == ["RELEASED"]


def test_an_attempt_that_its_live_process_no_longer_has_in_flight_is_rescued(pipeline: Pipeline) -> None:
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
