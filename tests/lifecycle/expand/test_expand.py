"""Lines become jobs in their order, as many as are to wait, and only while they can be paid for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.backfill import Backfill, body
from tests.builders import PRICE
from tests.pipeline import Pipeline


@pytest.fixture
def backfill(pipeline: Pipeline) -> Backfill:
    return Backfill(pipeline)


def test_every_line_of_a_batch_is_delivered_and_charged_once(backfill: Backfill) -> None:
    batch_id = backfill.create([body(number) for number in range(30)])
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert backfill.counts(batch_id) == {
        "total": 30, "completed": 30, "finished": 30, "images": 30, "spent_usd": 30 * PRICE
    }  # fmt: skip
    assert len(backfill.pipeline.calls()) == 30
    assert sorted(line.finished for line in backfill.lines(batch_id)) == list(range(1, 31))
    prompts = backfill.pipeline.rows("SELECT prompt FROM job_requests ORDER BY job_id")
    assert [row.prompt for row in prompts] == [f"line {number}" for number in range(30)]


def test_a_budget_that_suffices_for_some_delivers_exactly_those_and_a_higher_one_the_rest(
    backfill: Backfill,
) -> None:
    batch_id = backfill.create(
        [body(number) for number in range(20)], budget_usd=12 * PRICE + Decimal("0.01")
    )
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"budget"})
    assert backfill.counts(batch_id) == {
        "total": 20, "completed": 12, "waiting": 8, "finished": 12, "images": 12, "spent_usd": 12 * PRICE
    }  # fmt: skip
    backfill.pipeline.execute("UPDATE batches SET budget_usd = 1")
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert len(backfill.pipeline.calls()) == 20
