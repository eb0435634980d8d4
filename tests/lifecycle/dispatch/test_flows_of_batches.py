"""A batch closes and opens its flows, and gives them a weight; the dispatcher holds to both at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.jobs import Lane
from imagequeue.domain.verdicts import StoredImage, Succeeded
from imagequeue.lifecycle.supervise.control import BatchChange
from imagequeue.store.attempts import calls
from imagequeue.store.jobs.flows import follow_batch
from tests import fleet
from tests.backfill import Backfill
from tests.locks import wait_until_blocked
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long


def submit(pipeline: Pipeline, batch_id: UUID | None, count: int = 1) -> list[UUID]:
    """Submit jobs as the lines of a batch are, or as single ones."""
    return pipeline.submit(count, lane=Lane.BACKFILL, batch_id=batch_id)


def new_batch(pipeline: Pipeline) -> UUID:
    return Backfill(pipeline).create([])


def close(pipeline: Pipeline, batch_id: UUID) -> None:
    Backfill(pipeline).control.pause(pipeline.account_id, batch_id)


def reopen(pipeline: Pipeline, batch_id: UUID) -> None:
    Backfill(pipeline).control.resume(pipeline.account_id, batch_id)


def weigh(pipeline: Pipeline, batch_id: UUID, weight: int) -> None:
    Backfill(pipeline).control.change(pipeline.account_id, batch_id, BatchChange(weight=weight))


def test_jobs_of_a_closed_batch_are_not_claimed_and_others_are(pipeline: Pipeline) -> None:
    closed, other = new_batch(pipeline), new_batch(pipeline)
    (waits,), (goes,), (single,) = (submit(pipeline, one) for one in (closed, other, None))
    pipeline.dispatch.run_once()  # the dispatcher has read the flows: it must not rely on that
    (later,) = submit(pipeline, closed)
    close(pipeline, closed)
    pipeline.answer()
    pipeline.run()
    assert [pipeline.status(one) for one in (goes, single)] == ["COMPLETED", "COMPLETED"]
    assert (pipeline.states(waits), pipeline.status(later)) == (["GIVEN_BACK"], "QUEUED")
    assert len(pipeline.calls()) == 2
    reopen(pipeline, closed)
    pipeline.run()
    assert [pipeline.status(one) for one in (waits, later)] == ["COMPLETED", "COMPLETED"]


def test_a_call_that_was_released_before_its_batch_was_closed_does_not_begin(pipeline: Pipeline) -> None:
    batch_id = new_batch(pipeline)
    (job_id,) = submit(pipeline, batch_id)
    pipeline.dispatch.run_once()
    close(pipeline, batch_id)
    pipeline.answer()
    assert (pipeline.states(job_id), pipeline.calls()) == (["GIVEN_BACK"], [])
    assert pipeline.dispatch.run_once() == 0


def test_a_flow_that_is_made_later_has_the_weight_of_its_batch_and_is_closed_with_it(
    pipeline: Pipeline,
) -> None:
    batch_id = new_batch(pipeline)
    weigh(pipeline, batch_id, 5)
    submit(pipeline, batch_id)
    assert pipeline.rows("SELECT weight, open FROM flows") == [(5, True)]
    close(pipeline, batch_id)
    pipeline.submit(1, lane=Lane.BACKFILL, batch_id=batch_id, image_count=2)
    assert pipeline.rows("SELECT weight, open FROM flows") == [(5, False), (5, False)]


def test_a_call_that_was_sent_before_its_batch_was_closed_is_kept(pipeline: Pipeline) -> None:
    batch_id = new_batch(pipeline)
    (job_id,) = submit(pipeline, batch_id)
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    with pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, doorbell.attempt_id, pipeline.process_id, 180)
    close(pipeline, batch_id)
    image = StoredImage("images/one.png", "image/png", 1, 1, 1, bytes(32))
    assert pipeline.settlement.settle(doorbell.attempt_id, Succeeded((image,)))
    assert pipeline.status(job_id) == "COMPLETED"


def test_closing_waits_for_a_call_that_is_beginning(pipeline: Pipeline) -> None:
    """So from the commit on no call begins: none whose statement had read the flow before."""
    batch_id = new_batch(pipeline)
    submit(pipeline, batch_id, 2)
    pipeline.dispatch.run_once()
    first, second = (doorbell.attempt_id for doorbell in pipeline.rung)
    closing = threading.Thread(target=close, args=(pipeline, batch_id))
    with pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, first, pipeline.process_id, 180)
        closing.start()
        wait_until_blocked(pipeline.runtime.engine)
    closing.join()
    with pipeline.runtime.engine.begin() as connection:
        assert not calls.start(connection, second, pipeline.process_id, 180)


def test_a_call_that_is_beginning_while_its_batch_closes_finds_it_closed(pipeline: Pipeline) -> None:
    batch_id, began = new_batch(pipeline), list[bool]()
    submit(pipeline, batch_id)
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung

    def begin() -> None:
        with pipeline.runtime.engine.begin() as connection:
            began.append(calls.start(connection, doorbell.attempt_id, pipeline.process_id, 180))

    beginning = threading.Thread(target=begin)
    with pipeline.runtime.engine.begin() as connection:
        connection.execute(text("UPDATE batches SET state = 'paused', reasons = '{operator}'"))
        follow_batch(connection, batch_id)
        beginning.start()
        wait_until_blocked(pipeline.runtime.engine)
    beginning.join()
    assert began == [False]


@pytest.fixture
def narrow(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Eighteen calls, and then none for the length of a test."""
    with fleet.pipeline(engine, database_url, tmp_path, {"east": {"rpm": 18, "pace": False}}) as made:
        yield made


def test_batches_and_single_jobs_share_an_account_by_weight_and_a_new_weight_counts_at_once(
    narrow: Pipeline,
) -> None:
    heavy, light = new_batch(narrow), new_batch(narrow)
    for batch_id in (heavy, light, None):
        submit(narrow, batch_id, 2)
    assert narrow.dispatch.run_once() == 6
    for batch_id in (heavy, light, None):
        submit(narrow, batch_id, 10)
    weigh(narrow, heavy, 10)
    assert narrow.dispatch.run_once() == 12
    shares = narrow.rows("""
        SELECT batch_id, count(*)::int FROM attempts
        JOIN jobs ON jobs.id = job_id JOIN flows ON flows.id = flow_id GROUP BY batch_id
    """)
    assert dict(map(tuple, shares)) == {heavy: 12, light: 3, None: 3}
