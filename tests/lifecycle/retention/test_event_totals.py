"""Totals by status: every event once, however it is counted and whatever is forgotten afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from imagequeue import wiring
from imagequeue.domain.jobs import JobStatus
from imagequeue.store import metrics
from imagequeue.store.jobs.event_totals import entered
from tests.pipeline import Pipeline


def totals(pipeline: Pipeline) -> Mapping[str, int]:
    with pipeline.runtime.engine.connect() as connection:
        return entered(connection)


def tallied(pipeline: Pipeline) -> int:
    return pipeline.rows("SELECT sum(entered)::int FROM event_totals")[0][0]


def test_totals_are_there_at_once_and_counting_does_not_change_them(pipeline: Pipeline) -> None:
    assert totals(pipeline) == dict.fromkeys(JobStatus, 0)
    pipeline.submit(3)
    pipeline.run()
    pipeline.submit()
    expected = {"QUEUED": 4, "PROCESSING": 3, "COMPLETED": 3, "FAILED": 0, "ERROR": 0}
    assert totals(pipeline) == expected
    assert replace(wiring.event_totals(pipeline.runtime), settled_seconds=0, at_once=4).run_once() > 0
    assert tallied(pipeline) == 10
    assert totals(pipeline) == expected
    assert replace(wiring.event_totals(pipeline.runtime), settled_seconds=0).run_once() == 0


def test_totals_do_not_fall_when_events_are_forgotten(pipeline: Pipeline) -> None:
    pipeline.submit(2)
    pipeline.run()
    before = totals(pipeline)
    replace(wiring.event_totals(pipeline.runtime), settled_seconds=0).run_once()
    pipeline.execute("UPDATE jobs SET finished_at = finished_at - interval '31 days'")
    pipeline.execute("UPDATE attempts SET token_returns_at = clock_timestamp()")
    assert wiring.job_retention(pipeline.runtime).run_once() == 2
    assert pipeline.rows("SELECT count(*) FROM events") == [(0,)]
    assert totals(pipeline) == before


def test_an_event_that_is_committed_late_is_counted(pipeline: Pipeline) -> None:
    """Its id is smaller than those of events that were committed before it."""
    pipeline.submit(2)
    (late, soon) = pipeline.rows("SELECT id FROM jobs ORDER BY id")
    event = "INSERT INTO events (job_id, status) VALUES (:id, 'PROCESSING')"
    counting = replace(wiring.event_totals(pipeline.runtime), settled_seconds=0)
    with pipeline.runtime.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO events (job_id, status) VALUES (%s, 'PROCESSING')", (late.id,)
        )
        pipeline.execute(event, id=soon.id)
        counting.run_once()
        assert totals(pipeline)["PROCESSING"] == 1
    assert totals(pipeline)["PROCESSING"] == 2
    counting.run_once()
    assert totals(pipeline)["PROCESSING"] == 2
    assert tallied(pipeline) == 4


def test_young_events_are_left_for_later(pipeline: Pipeline) -> None:
    pipeline.submit()
    assert wiring.event_totals(pipeline.runtime).run_once() == 0


def test_a_begun_job_is_processing_until_it_is_final(pipeline: Pipeline) -> None:
    def processing() -> int:
        with pipeline.runtime.engine.connect() as connection:
            return metrics.processing_jobs(connection)

    pipeline.submit(2)
    pipeline.fault(kind="status", status=500, count=1)
    pipeline.beat()
    while not pipeline.rung:
        pipeline.dispatch.run_once()
    assert processing() == pipeline.rows("SELECT count(*) FROM jobs WHERE status = 'PROCESSING'")[0][0] > 0
    pipeline.answer()
    left = pipeline.rows("SELECT count(*) FROM jobs WHERE status = 'PROCESSING'")[0][0]
    assert processing() == left > 0
