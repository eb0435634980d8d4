"""Pause and cancel touch no line, so they take the same time for any number; lines end in steps later."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from uuid import UUID

import pytest

from imagequeue.lifecycle.supervise.supervise import LINES_AT_ONCE
from tests.backfill import Backfill, body
from tests.locks import holding
from tests.pipeline import Pipeline

LINES = 2 * LINES_AT_ONCE + 100

_LINES = "SELECT FROM batch_lines WHERE batch_id = :id FOR UPDATE"
_JOBS = "SELECT FROM jobs FOR UPDATE"

Verb = Callable[[Backfill, UUID], None]


@pytest.fixture
def backfill(pipeline: Pipeline) -> Backfill:
    return Backfill(pipeline)


def pause(backfill: Backfill, batch_id: UUID) -> None:
    backfill.control.pause(backfill.pipeline.account_id, batch_id)


def cancel(backfill: Backfill, batch_id: UUID) -> None:
    backfill.control.cancel(backfill.pipeline.account_id, batch_id)


@pytest.mark.parametrize("verb", [pause, cancel])
def test_no_call_begins_once_a_batch_is_paused_or_cancelled_though_all_its_lines_and_jobs_are_locked(
    backfill: Backfill, verb: Verb
) -> None:
    """Who waited for a line or a job would be refused the lock, and who moved them all would wait."""
    engine = backfill.pipeline.runtime.engine
    batch_id = backfill.create([body(number) for number in range(20)])
    backfill.expand()
    backfill.pipeline.beat()
    assert backfill.pipeline.dispatch.run_once() > 0
    with holding(engine, _LINES, id=batch_id), holding(engine, _JOBS):
        verb(backfill, batch_id)
    assert backfill.pipeline.answer() > 0
    assert backfill.pipeline.dispatch.run_once() == 0
    assert backfill.pipeline.calls() == []


def test_the_lines_of_a_cancelled_batch_end_in_steps(backfill: Backfill) -> None:
    batch_id = backfill.create([body(number) for number in range(LINES)])
    cancel(backfill, batch_id)
    assert backfill.counts(batch_id) == {"total": LINES, "waiting": LINES}
    seconds = count()
    backfill.supervision.clock = lambda: float(next(seconds))  # time for a single step of each pass
    ended = list[int]()
    while backfill.state(batch_id)[0] == "cancelling":
        backfill.supervision.run_once()
        ended.append(backfill.counts(batch_id)["cancelled"])
    assert ended == [LINES_AT_ONCE, 2 * LINES_AT_ONCE, LINES, LINES]
    assert backfill.state(batch_id)[0] == "cancelled"
