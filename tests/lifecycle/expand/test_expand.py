"""Lines become jobs in their order, as many as are to wait, and only while they can be paid for."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.jobs import JobStatus
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.expand.read_lines import PREPARE_SECONDS
from imagequeue.lifecycle.submit.uploads import RequestWithUploads
from imagequeue.lifecycle.supervise.control import BatchChange
from imagequeue.store.batches.expansion import BatchTerms
from imagequeue.store.jobs import settlements
from imagequeue.store.money.ledger import Deposit, deposit
from tests import builders
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


def test_a_wallet_that_suffices_for_some_delivers_exactly_those_and_a_deposit_the_rest(
    backfill: Backfill,
) -> None:
    pipeline = backfill.pipeline
    pipeline.execute("UPDATE wallets SET available = 7 * 0.039 + 0.5")
    batch_id = backfill.create([body(number) for number in range(9)], keep_available_usd=Decimal("0.48"))
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"wallet"})
    assert backfill.counts(batch_id)["completed"] == 7
    with pipeline.runtime.engine.begin() as connection:
        deposit(connection, [Deposit(pipeline.account_id, Decimal(1))])
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert len(pipeline.calls()) == 9


def test_a_cheaper_line_does_not_overtake_one_that_cannot_be_paid(backfill: Backfill) -> None:
    lines = [body(number, n=2 if number == 2 else 1) for number in range(1, 5)]
    batch_id = backfill.create(lines, budget_usd=3 * PRICE)
    (flow_id, *_) = {line.flow_id for line in backfill.lines(batch_id)}
    backfill.pipeline.execute(
        "UPDATE batch_lines SET flow_id = :id", id=flow_id
    )  # prices that differ in a flow
    backfill.pipeline.execute("UPDATE batches SET budget_usd = :usd", usd=2 * PRICE)
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"budget"})
    assert [line.state for line in backfill.lines(batch_id)] == ["completed", "waiting", "waiting", "waiting"]


def test_while_a_hold_is_open_a_batch_without_money_is_in_progress_and_says_what_it_waits_for(
    backfill: Backfill,
) -> None:
    batch_id = backfill.create([body(1), body(2)], budget_usd=PRICE)
    backfill.expand()
    backfill.expand()
    backfill.supervision.run_once()
    assert backfill.state(batch_id) == ("in_progress", {"budget"})
    assert backfill.counts(batch_id)["held_usd"] == PRICE
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"budget"})


def test_a_line_that_cannot_be_read_fails_by_itself(backfill: Backfill) -> None:
    batch_id = backfill.create([body(number) for number in range(3)])
    backfill.pipeline.execute(
        "UPDATE batch_lines SET byte_count = byte_count - 1 WHERE batch_id = :id AND number = 2", id=batch_id
    )
    backfill.run()
    assert [line.state for line in backfill.lines(batch_id)] == ["completed", "failed", "completed"]
    assert backfill.lines(batch_id)[1].error_code == "invalid_request"
    assert backfill.state(batch_id) == ("completed", set())


def test_a_line_that_the_database_does_not_take_fails_by_itself(backfill: Backfill) -> None:
    batch_id = backfill.create([body(1), body(2), body(3)])
    read = backfill.expander.read

    def nul(text: bytes, terms: BatchTerms, catalog: Catalog) -> tuple[str, RequestWithUploads]:
        dialect, ask = read(text, terms, catalog)
        prompt = ask.request.prompt.replace("line 2", "\0")
        return dialect, replace(ask, request=replace(ask.request, prompt=prompt))

    backfill.expander.read = nul
    backfill.run()
    assert [line.state for line in backfill.lines(batch_id)] == ["completed", "failed", "completed"]
    assert backfill.lines(batch_id)[1].error_code == "internal_error"


def test_a_batch_whose_next_line_no_deployment_can_serve_waits_for_one(backfill: Backfill) -> None:
    batch_id = backfill.create([body(1)])
    pipeline = backfill.pipeline
    catalog = pipeline.runtime.catalog
    lacking = builders.catalog(model="microsoft-mai-image-2", upstream_model="mai-image-2")
    pipeline.runtime.catalog, pipeline.dispatch.eligibility = lacking, Eligibility(lacking)
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"no_deployment"})
    pipeline.runtime.catalog, pipeline.dispatch.eligibility = catalog, Eligibility(catalog)
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())


def test_a_turn_whose_lines_take_long_to_read_goes_on_with_those_that_are_read(backfill: Backfill) -> None:
    batch_id = backfill.create([body(1), body(2), body(3)])
    read, moment = backfill.expander.read, [0.0]

    def slow(text: bytes, terms: BatchTerms, catalog: Catalog) -> tuple[str, RequestWithUploads]:
        moment[0] += PREPARE_SECONDS
        return read(text, terms, catalog)

    backfill.expander.read, backfill.expander.clock = slow, lambda: moment[0]
    assert backfill.expand() == 2  # two turns of one line, and the pass is over
    assert [line.state for line in backfill.lines(batch_id)] == ["queued", "queued", "waiting"]
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())


def test_flows_of_one_class_share_a_window_by_the_weights_of_their_batches(backfill: Backfill) -> None:
    pipeline = backfill.pipeline
    pipeline.execute("UPDATE quota_groups SET effective_rpm = 8")
    heavy = backfill.create([body(number) for number in range(20)], weight=3)
    light = backfill.create([body(number) for number in range(20)])
    backfill.expand()
    assert [backfill.counts(one)["queued"] for one in (heavy, light)] == [6, 2]
    assert backfill.expand() == 0
    pipeline.execute("UPDATE quota_groups SET effective_rpm = 1000")


def test_two_expanders_at_once_hold_for_no_more_than_the_budget(backfill: Backfill) -> None:
    batch_id = backfill.create(
        [body(number, n=1 + number % 2) for number in range(60)], budget_usd=Decimal(1)
    )
    other = Backfill(backfill.pipeline)
    threads = [threading.Thread(target=one.expand) for one in (backfill, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = backfill.counts(batch_id)
    assert counts["held_usd"] <= 1
    assert backfill.pipeline.rows("SELECT held FROM wallets") == [(counts["held_usd"],)]


@pytest.mark.parametrize("what", ["budget", "wallet"])
def test_what_suffices_for_1234_of_2000_images_delivers_exactly_1234(backfill: Backfill, what: str) -> None:
    """Jobs are ended as settling ends them, without an upstream: two thousand calls would take minutes."""
    pipeline, suffices = backfill.pipeline, 1234 * PRICE + Decimal("0.01")
    budget = suffices if what == "budget" else None
    batch_id = backfill.create([body(number) for number in range(2000)], budget_usd=budget)
    if what == "wallet":
        pipeline.execute("UPDATE wallets SET available = :usd", usd=suffices)
    deliver(backfill, batch_id)
    assert backfill.state(batch_id) == ("paused", {what})
    assert (backfill.counts(batch_id)["completed"], backfill.counts(batch_id)["waiting"]) == (1234, 766)
    if what == "budget":
        change = BatchChange(budget_usd=Decimal(100))
        backfill.control.change(pipeline.account_id, batch_id, change)
    else:
        with pipeline.runtime.engine.begin() as connection:
            deposit(connection, [Deposit(pipeline.account_id, Decimal(100))])
    deliver(backfill, batch_id)
    assert backfill.state(batch_id) == ("completed", set())
    assert backfill.counts(batch_id)["spent_usd"] == 2000 * PRICE


def deliver(backfill: Backfill, batch_id: UUID) -> None:
    """Expand, complete what has a job, and supervise, until nothing moves."""
    waiting = "SELECT job_id FROM batch_lines WHERE batch_id = :id AND state = 'queued' ORDER BY job_id"
    while backfill.expand() + backfill.supervision.run_once():
        jobs = [row.job_id for row in backfill.pipeline.rows(waiting, id=batch_id)]
        for begin in range(0, len(jobs), 200):
            with backfill.pipeline.runtime.engine.begin() as connection:
                locked = settlements.lock_jobs(connection, jobs[begin : begin + 200])
                end = backfill.pipeline.settlement.job_end.write
                assert len(end(connection, locked, JobStatus.COMPLETED, None)) == len(locked)
