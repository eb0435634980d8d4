"""Who may say what came of an attempt: its owner, the rescue of an orphan, and any success."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.upstream import Ambiguous, Unavailable
from imagequeue.domain.verdicts import GivenBack, ProcessDied, StoredImage, Succeeded
from imagequeue.lifecycle.sweep.heartbeat import Heartbeat
from imagequeue.store import processes
from imagequeue.store.attempts import calls
from imagequeue.store.processes import ProcessRecord
from tests.lifecycle.generate.refusing import breaking_commit
from tests.pipeline import Pipeline


def _image(name: str = "v1/a/b/output.png") -> StoredImage:
    return StoredImage(name, "image/png", 1024, 1024, 100)


def _calling(pipeline: Pipeline, process_id: UUID | None = None) -> tuple[UUID, UUID]:
    """A job, and its attempt that a process is calling."""
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    pipeline.rung.clear()
    with pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, doorbell.attempt_id, process_id or pipeline.process_id, 180)
    return job_id, doorbell.attempt_id


def test_a_process_cannot_give_back_the_call_of_another(pipeline: Pipeline) -> None:
    job_id, attempt_id = _calling(pipeline)
    unsure = GivenBack("the database is away", started=True, certain=False)
    pipeline.settlement.settle(attempt_id, unsure, new_id())
    assert pipeline.states(job_id) == ["CALLING"]
    pipeline.settlement.settle(attempt_id, unsure, pipeline.process_id)
    assert pipeline.states(job_id) == ["GIVEN_BACK"]


def test_a_failure_of_another_process_closes_nothing(pipeline: Pipeline) -> None:
    job_id, attempt_id = _calling(pipeline)
    for outcome in (Unavailable("500"), Ambiguous("reset")):
        pipeline.settlement.settle(attempt_id, outcome, new_id())
    assert pipeline.states(job_id) == ["CALLING"]


def test_the_attempt_of_a_live_process_is_never_rescued(pipeline: Pipeline) -> None:
    job_id, attempt_id = _calling(pipeline)
    pipeline.settlement.settle(attempt_id, ProcessDied("somebody thinks so"))
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_a_process_that_starts_between_two_looks_of_the_sweep_is_not_taken_for_dead(
    pipeline: Pipeline,
) -> None:
    pipeline.sweep.watch()
    late = new_id()
    pipeline.register(late)
    job_id, _ = _calling(pipeline, late)
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_the_attempt_of_a_process_that_is_gone_is_rescued(pipeline: Pipeline) -> None:
    job_id, _ = _calling(pipeline)
    pipeline.execute("DELETE FROM processes")
    assert pipeline.sweep.recover() == 1
    assert pipeline.states(job_id) == ["UNKNOWN"]
    assert pipeline.rows("SELECT deaths, wanted FROM jobs") == [(1, 1)]


def test_a_process_that_was_declared_dead_may_not_start_a_call(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    pipeline.execute("DELETE FROM processes")
    pipeline.answer()
    assert pipeline.states(job_id) == ["GIVEN_BACK"]
    assert pipeline.calls() == []


def test_a_process_that_comes_back_has_its_calls_again(pipeline: Pipeline) -> None:
    job_id, _ = _calling(pipeline)
    pipeline.execute("DELETE FROM processes")
    process = ProcessRecord(pipeline.process_id, "worker", "test", 1, ("generate.interactive",), 8)
    assert Heartbeat(pipeline.runtime.engine, process, lambda: 8).run_once() == 0
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_a_process_is_buried_only_where_it_was_last_seen(pipeline: Pipeline) -> None:
    with pipeline.runtime.engine.begin() as connection:
        seen = dict(processes.beats(connection))
        processes.beat(connection, pipeline.process_id, 8)
        assert processes.bury(connection, seen) == []
        assert processes.bury(connection, dict(processes.beats(connection))) == [pipeline.process_id]


def test_an_attempt_that_its_live_process_no_longer_has_in_hand_is_rescued(pipeline: Pipeline) -> None:
    job_id, attempt_id = _calling(pipeline)
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


def test_an_outage_of_the_database_makes_no_attempt_look_abandoned(pipeline: Pipeline) -> None:
    job_id, _ = _calling(pipeline)
    pipeline.execute("UPDATE processes SET beat_at = clock_timestamp() - interval '10 minutes'")
    pipeline.execute("UPDATE attempts SET call_deadline = clock_timestamp() - interval '8 minutes'")
    assert pipeline.sweep.recover() == 0
    assert pipeline.states(job_id) == ["CALLING"]


def test_a_second_doorbell_in_the_same_process_is_dropped(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    with pipeline.generation.in_flight.take(doorbell.attempt_id):
        pipeline.answer()
    assert pipeline.states(job_id) == ["RELEASED"]


def test_a_doorbell_that_is_rung_again_makes_no_second_call(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    pipeline.rung *= 3
    pipeline.answer()
    assert (pipeline.status(job_id), len(pipeline.calls())) == ("COMPLETED", 1)


def test_a_success_that_comes_after_the_rescue_completes_the_job(pipeline: Pipeline) -> None:
    job_id, attempt_id = _calling(pipeline)
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
    job_id, attempt_id = _calling(pipeline)
    assert pipeline.settlement.settle(attempt_id, Succeeded((_image(),)))
    before = pipeline.rows("SELECT * FROM attempts") + pipeline.rows("SELECT * FROM ledger_entries")
    assert not pipeline.settlement.settle(attempt_id, Succeeded((_image(),)))
    assert pipeline.rows("SELECT * FROM attempts") + pipeline.rows("SELECT * FROM ledger_entries") == before
    assert pipeline.status(job_id) == "COMPLETED"


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_that_breaks_at_settles_commit_charges_once(pipeline: Pipeline, *, after: bool) -> None:
    (job_id,) = pipeline.submit(webhook_url="https://receiver.example.com/hook")
    pipeline.dispatch.run_once()
    with breaking_commit(pipeline.runtime.engine, "INSERT INTO job_results", after=after) as broken:
        pipeline.answer()
    assert broken
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    kinds = pipeline.rows("SELECT kind FROM ledger_entries WHERE job_id = :id ORDER BY id", id=job_id)
    assert [row.kind for row in kinds] == ["HOLD", "CAPTURE"]
    assert pipeline.rows("SELECT count(*) FROM deliveries") == [(1,)]


@pytest.mark.parametrize("after", [False, True])
def test_a_start_whose_commit_is_unknown_makes_no_call_and_keeps_its_token(
    pipeline: Pipeline, *, after: bool
) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    with breaking_commit(pipeline.runtime.engine, "state = 'CALLING'", after=after) as broken:
        pipeline.answer()
    assert broken
    assert (pipeline.states(job_id), pipeline.calls()) == (["GIVEN_BACK"], [])
    out = "SELECT token_returns_at > clock_timestamp() + interval '30 s' FROM attempts"
    assert pipeline.rows(out) == [(True,)], "the call may have been sent, as far as anybody knows"


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


def test_an_ended_job_leaves_no_attempt_open(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=2)
    pipeline.dispatch.run_once()
    pipeline.execute(
        "UPDATE attempts SET state = 'SLEEPING', upstream_reference = 'r' WHERE id = :id",
        id=pipeline.rung[0].attempt_id,
    )
    assert pipeline.settlement.end([job_id], JobStatus.FAILED, "cancelled") == [job_id]
    assert sorted(pipeline.states(job_id)) == ["GIVEN_BACK", "LOST"]
    assert pipeline.answer() == 2
    assert pipeline.calls() == []
    assert pipeline.rows("SELECT available, held, spent FROM wallets") == [(1000, 0, 0)]
