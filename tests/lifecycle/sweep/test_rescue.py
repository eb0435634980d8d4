"""What came of a call whose process died: what is stored, or spilled, or a death."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from imagequeue.domain.ids import request_id
from imagequeue.media.keys import output_key
from imagequeue.store.attempts import calls
from tests.builders import MODEL
from tests.lifecycle.steps import UNTOUCHED, calling, end_back_off, wallet
from tests.lifecycle.storage_outage import Outage
from tests.media.pictures import picture
from tests.pipeline import Pipeline


def _die_while_calling(pipeline: Pipeline) -> None:
    end_back_off(pipeline)
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
    assert wallet(pipeline) == UNTOUCHED


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
    end_back_off(pipeline)
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"


def test_two_processes_that_die_at_once_are_two_deaths_and_the_third_is_the_last(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=4)
    assert pipeline.dispatch.run_once() == 4
    _die_with(pipeline, [uuid4(), uuid4()])
    assert [tuple(row) for row in pipeline.rows("SELECT deaths, failures FROM jobs")] == [(2, 1)]
    end_back_off(pipeline)
    assert pipeline.dispatch.run_once() == 4
    _die_with(pipeline, [uuid4()])
    assert pipeline.status(job_id) == "ERROR"
    assert wallet(pipeline) == UNTOUCHED


def test_a_process_that_loses_calls_again_and_again_ends_the_job_after_its_attempts(
    pipeline: Pipeline,
) -> None:
    (job_id,) = pipeline.submit()
    process_id = uuid4()  # it lives on: its threads end without a word
    for _ in range(5):
        end_back_off(pipeline)
        assert pipeline.dispatch.run_once() == 1
        _die_with(pipeline, [process_id])
    assert [tuple(row) for row in pipeline.rows("SELECT deaths, failures FROM jobs")] == [(1, 5)]
    end_back_off(pipeline)
    assert pipeline.dispatch.run_once() == 1
    _die_with(pipeline, [process_id])
    assert pipeline.status(job_id) == "ERROR"


def test_the_attempt_of_a_process_that_is_gone_is_rescued(pipeline: Pipeline) -> None:
    job_id, _ = calling(pipeline)
    pipeline.execute("DELETE FROM processes")
    assert pipeline.sweep.recover() == 1
    assert pipeline.states(job_id) == ["UNKNOWN"]
    assert pipeline.rows("SELECT deaths, wanted FROM jobs") == [(1, 1)]


def test_a_spilled_image_is_found_by_the_rescue_of_its_attempt(outage: Outage) -> None:
    job_id, thread = outage.begin()
    outage.pipeline.stopping.set()
    thread.join(120)
    outage.pipeline.execute("DELETE FROM processes")
    outage.storage.away.clear()
    with outage.pipeline.runtime.engine.connect() as connection:
        (orphan,) = calls.orphaned(connection)
    outage.sweep.rescue.rescue(orphan)
    assert outage.pipeline.status(job_id) == "COMPLETED"


def test_the_sweep_stores_for_a_live_process_but_does_not_settle_for_it(outage: Outage) -> None:
    (job_id,) = outage.pipeline.submit(image_count=2)
    outage.pipeline.dispatch.run_once()
    attempt_id = outage.pipeline.rung[0].attempt_id
    with outage.pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, attempt_id, outage.pipeline.process_id, 180)
    key = output_key(request_id(MODEL, "generate", job_id), attempt_id, 1, "png")
    outage.pipeline.spill.put(key, picture(), "image/png", {"attempt_id": str(attempt_id)})
    assert outage.sweep.recover() == 1
    assert outage.storage.exists(key)
    assert outage.pipeline.rows("SELECT state FROM attempts WHERE id = :id", id=attempt_id) == [("CALLING",)]


def _orphan(outage: Outage) -> UUID:
    """A job whose attempt was begun by a process that is dead now, its image being in the storage."""
    (job_id,) = outage.pipeline.submit()
    outage.pipeline.dispatch.run_once()
    attempt_id = outage.pipeline.rung[0].attempt_id
    with outage.pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, attempt_id, outage.pipeline.process_id, 180)
    outage.storage.put(
        output_key(request_id(MODEL, "generate", job_id), attempt_id, 1, "png"), picture(), "image/png"
    )
    outage.pipeline.execute("DELETE FROM processes")
    return job_id


def _waiting(outage: Outage) -> list[str]:
    return sorted(path.suffix for path in outage.pipeline.spill.directory.iterdir())


def _junk(outage: Outage) -> None:
    outage.pipeline.spill.directory.mkdir()
    (outage.pipeline.spill.directory / "junk.spill").write_bytes(b"junk")


def _unreadable(outage: Outage) -> None:
    outage.pipeline.spill.directory.mkdir()
    (outage.pipeline.spill.directory / "folder.spill").mkdir()


def _without_attempt(outage: Outage) -> None:
    outage.pipeline.spill.put("v1/a", b"x", "image/png", {})


def _conflict(outage: Outage) -> None:
    outage.storage.put("v1/a", b"other bytes", "image/png")
    outage.pipeline.spill.put("v1/a", b"x", "image/png", {"attempt_id": str(outage.pipeline.process_id)})


@pytest.mark.parametrize(
    ("trouble", "left"),
    [
        (_junk, [".aside"]),
        (_unreadable, [".spill"]),
        (_without_attempt, [".aside"]),
        (_conflict, [".aside"]),
    ],
)
def test_a_spilled_file_that_makes_trouble_stops_no_rescue(
    outage: Outage, trouble: Callable[[Outage], None], left: list[str]
) -> None:
    trouble(outage)
    job_id = _orphan(outage)
    assert outage.sweep.recover() == 1
    assert outage.pipeline.status(job_id) == "COMPLETED"
    assert _waiting(outage) == left
    assert outage.sweep.recover() == 0


def test_an_orphan_whose_own_file_cannot_be_read_is_postponed_alone(outage: Outage) -> None:
    first = _orphan(outage)
    (row,) = outage.pipeline.rows("SELECT id FROM attempts")
    key = output_key(request_id(MODEL, "generate", first), row.id, 1, "png")
    outage.pipeline.spill.put(key, b"x", "image/png")
    (file,) = outage.pipeline.spill.directory.iterdir()
    file.unlink()
    file.mkdir()
    outage.pipeline.register(outage.pipeline.process_id)
    outage.pipeline.rung.clear()
    second = _orphan(outage)
    assert outage.sweep.recover() == 1
    assert [outage.pipeline.status(job) for job in (first, second)] == ["PROCESSING", "COMPLETED"]


def test_unspilling_leaves_time_for_orphans(outage: Outage) -> None:
    clock = iter(range(0, 1000, 4))
    rescue = replace(outage.sweep.rescue, clock=lambda: float(next(clock)))
    for number in range(20):
        note = {"attempt_id": str(outage.pipeline.process_id)}
        outage.pipeline.spill.put(f"v1/{number}", b"x", "image/png", note)
    assert 1 <= rescue.unspill() < 20
    assert 1 <= rescue.unspill() < 20
