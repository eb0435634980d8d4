"""Whatever a person does in whatever order: the counters are the lines, the money is the jobs'."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagequeue.domain.errors import AlreadyFinal
from imagequeue.lifecycle.supervise.control import BatchChange
from tests.backfill import Backfill, body
from tests.builders import PRICE
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long
LINES = 5
STEPS = ("expand", "claim", "answer", "supervise", "pause", "resume", "cancel", "retry", "budget", "refuse")


@pytest.fixture
def backfill(pipeline: Pipeline) -> Backfill:
    return Backfill(pipeline)


@settings(
    max_examples=8,
    deadline=None,  # other work on the machine is not a fault
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example has a batch of its own
)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=14))
def test_counters_lines_and_money_agree_after_every_step(backfill: Backfill, steps: list[str]) -> None:
    pipeline, account_id = backfill.pipeline, backfill.pipeline.account_id
    batch_id = backfill.create([body(number) for number in range(LINES)], budget_usd=2 * PRICE)
    spent_before = pipeline.rows("SELECT spent FROM wallets")[0].spent
    higher = BatchChange(budget_usd=LINES * PRICE)
    doings = {
        "expand": backfill.expand,
        "claim": pipeline.dispatch.run_once,
        "answer": pipeline.answer,
        "supervise": backfill.supervision.run_once,
        "pause": lambda: backfill.control.pause(account_id, batch_id),
        "resume": lambda: backfill.control.resume(account_id, batch_id),
        "cancel": lambda: backfill.control.cancel(account_id, batch_id),
        "retry": lambda: backfill.control.retry(account_id, batch_id),
        "budget": lambda: backfill.control.change(account_id, batch_id, higher),
        "refuse": lambda: pipeline.fault(kind="status", status=400, count=1),
    }
    for step in steps:
        with suppress(AlreadyFinal):  # cancelled twice, or retried while it ends
            doings[step]()
        counts = backfill.counts(batch_id)
        wallet = pipeline.rows("SELECT held, spent FROM wallets")[0]
        assert wallet.held == counts.get("held_usd", 0)
        assert wallet.spent - spent_before == counts.get("spent_usd", 0)
        assert counts["total"] == LINES
    with suppress(AlreadyFinal):
        doings["budget"]()
        doings["resume"]()
    pipeline.answer()
    backfill.run()
    counts = backfill.counts(batch_id)
    assert counts["total"] == sum(counts.get(name, 0) for name in ("completed", "failed", "cancelled"))
    assert "held_usd" not in counts
    assert backfill.state(batch_id)[0] in {"completed", "cancelled"}
