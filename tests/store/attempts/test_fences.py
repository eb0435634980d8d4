"""Who may say what came of an attempt: the process that made the call, and any success."""

from __future__ import annotations

from imagequeue.domain.ids import new_id
from imagequeue.domain.upstream import Ambiguous, Unavailable
from imagequeue.domain.verdicts import GivenBack, ProcessDied, StoredImage, Succeeded
from tests.lifecycle.steps import calling
from tests.pipeline import Pipeline


def _image(name: str = "v1/a/b/output.png") -> StoredImage:
    return StoredImage(name, "image/png", 1024, 1024, 100, bytes(32))


def test_a_process_cannot_give_back_the_call_of_another(pipeline: Pipeline) -> None:
    job_id, attempt_id = calling(pipeline)
    unsure = GivenBack("the database is away", started=True, certain=False)
    pipeline.settlement.settle(attempt_id, unsure, new_id())
    assert pipeline.states(job_id) == ["CALLING"]
    pipeline.settlement.settle(attempt_id, unsure, pipeline.process_id)
    assert pipeline.states(job_id) == ["GIVEN_BACK"]


def test_a_failure_of_another_process_closes_nothing(pipeline: Pipeline) -> None:
    job_id, attempt_id = calling(pipeline)
    for outcome in (Unavailable("500"), Ambiguous("reset")):
        pipeline.settlement.settle(attempt_id, outcome, new_id())
    assert pipeline.states(job_id) == ["CALLING"]


def test_the_attempt_of_a_live_process_is_never_rescued(pipeline: Pipeline) -> None:
    job_id, attempt_id = calling(pipeline)
    pipeline.settlement.settle(attempt_id, ProcessDied("somebody thinks so"))
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_a_success_that_comes_after_the_rescue_completes_the_job(pipeline: Pipeline) -> None:
    job_id, attempt_id = calling(pipeline)
    pipeline.execute("DELETE FROM processes")
    pipeline.sweep.recover()
    assert pipeline.settlement.settle(attempt_id, Succeeded((_image(),)), pipeline.process_id)
    assert pipeline.status(job_id) == "COMPLETED"


def test_images_that_come_after_a_partial_rescue_are_kept(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=2)
    pipeline.dispatch.run_once()
    first, _ = (doorbell.attempt_id for doorbell in pipeline.rung)
    one, two = _image("v1/a/b/output.png"), _image("v1/a/b/output_2.png")
    assert not pipeline.settlement.settle(first, Succeeded((one,)))
    assert pipeline.settlement.settle(first, Succeeded((one, two)))
    assert pipeline.status(job_id) == "COMPLETED"
    assert pipeline.rows("SELECT sum(duplicate_images) FROM attempts") == [(0,)]


def test_a_success_that_is_told_twice_changes_nothing(pipeline: Pipeline) -> None:
    job_id, attempt_id = calling(pipeline)
    assert pipeline.settlement.settle(attempt_id, Succeeded((_image(),)))
    before = pipeline.rows("SELECT * FROM attempts") + pipeline.rows("SELECT * FROM ledger_entries")
    assert not pipeline.settlement.settle(attempt_id, Succeeded((_image(),)))
    assert pipeline.rows("SELECT * FROM attempts") + pipeline.rows("SELECT * FROM ledger_entries") == before
    assert pipeline.status(job_id) == "COMPLETED"
