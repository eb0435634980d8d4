"""An attempt that a thread of the process has in hand is begun by no other one."""

from __future__ import annotations

from tests.pipeline import Pipeline


def test_a_second_doorbell_in_the_same_process_is_dropped(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    with pipeline.generation.in_flight.take(doorbell.attempt_id):
        pipeline.answer()
    assert pipeline.states(job_id) == ["RELEASED"]
