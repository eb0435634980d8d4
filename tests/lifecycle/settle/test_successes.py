"""Successes that come together are settled in one transaction; the trouble of one is no other's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID

import pytest

from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.verdicts import StoredImage, Succeeded
from imagequeue.lifecycle.generate.record_outcome import OutcomeRecorder
from imagequeue.lifecycle.generate.store_images import HandedToSweep
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import CallTicket
from tests.builders import account
from tests.eventually import eventually
from tests.lifecycle.steps import calling, end_back_off, wallet
from tests.locks import holding
from tests.pipeline import Pipeline

PRICE = Decimal("0.039")


@dataclass
class Together:
    """Records successes; while `open` is not set, the first transaction stands still after its commit."""

    pipeline: Pipeline
    groups: list[list[UUID]] = field(default_factory=list[list[UUID]])
    stands: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8))
    recorder: OutcomeRecorder = field(init=False)

    def __post_init__(self) -> None:
        settlement = replace(self.pipeline.settlement, announce=self._announce)
        self.recorder = replace(self.pipeline.generation.recorder, settlement=settlement)

    def record(self, tickets: Sequence[CallTicket]) -> list[Future[None]]:
        """Record a success of the first alone, and then of all others at once."""
        first = self._record(tickets[0])
        assert self.stands.wait(60)
        others = [self._record(ticket) for ticket in tickets[1:]]
        eventually(lambda: len(self.recorder.successes.together) == len(others))
        self.open.set()
        return [first, *others]

    def _record(self, ticket: CallTicket) -> Future[None]:
        image = StoredImage(f"outputs/{ticket.attempt_id}.png", "image/png", 64, 64, 100, bytes(32))
        return self.pool.submit(self.recorder.record, ticket, Succeeded((image,)))

    def _announce(self, jobs: Sequence[UUID]) -> None:
        self.groups.append(list(jobs))
        self.stands.set()
        assert self.open.wait(60)


@pytest.fixture
def together(pipeline: Pipeline) -> Together:
    return Together(pipeline)


def _calling(pipeline: Pipeline, count: int) -> list[CallTicket]:
    """Calls of so many jobs, each of another account than the one before."""
    tickets = list[CallTicket]()
    accounts = [pipeline.account_id, account(pipeline.runtime.engine, "second")[0]]
    for number in range(count):
        pipeline.account_id = accounts[number % 2]
        tickets.append(_ticket(pipeline, calling(pipeline)[1]))
    pipeline.account_id = accounts[0]
    return tickets


def _ticket(pipeline: Pipeline, attempt_id: UUID) -> CallTicket:
    with pipeline.runtime.engine.begin() as connection:
        ticket = calls.read_ticket(connection, attempt_id)
    assert ticket is not None
    return ticket


def _statuses(pipeline: Pipeline, tickets: Sequence[CallTicket]) -> list[str]:
    return [pipeline.status(ticket.job_id) for ticket in tickets]


def test_successes_that_come_together_are_settled_in_one_transaction(together: Together) -> None:
    pipeline = together.pipeline
    tickets = _calling(pipeline, 5)
    for one in together.record(tickets):
        one.result(60)
    assert _statuses(pipeline, tickets) == ["COMPLETED"] * 5
    jobs = [ticket.job_id for ticket in tickets]
    assert [set(group) for group in together.groups] == [{jobs[0]}, set(jobs[1:])]
    assert wallet(pipeline) == [(1000 - 3 * PRICE, 0, 3 * PRICE)]
    assert pipeline.rows("SELECT count(*) FROM ledger_entries WHERE kind = 'CAPTURE'") == [(5,)]
    assert pipeline.rows("SELECT count(*), count(DISTINCT storage_key) FROM images") == [(5, 5)]
    transactions = "SELECT count(DISTINCT xmin::text) FROM images WHERE job_id <> :first"
    assert pipeline.rows(transactions, first=jobs[0]) == [(1,)]


def test_one_whose_job_is_locked_delays_no_other(together: Together) -> None:
    pipeline = together.pipeline
    tickets = _calling(pipeline, 4)
    locked = "SELECT FROM jobs WHERE id = :id FOR UPDATE"
    with holding(pipeline.runtime.engine, locked, id=tickets[1].job_id):
        records = together.record(tickets)
        for one in (records[0], *records[2:]):
            one.result(60)
        assert _statuses(pipeline, tickets) == ["COMPLETED", "PROCESSING", "COMPLETED", "COMPLETED"]
    records[1].result(60)
    assert _statuses(pipeline, tickets) == ["COMPLETED"] * 4


def test_one_that_cannot_be_settled_prevents_no_other(together: Together) -> None:
    pipeline = together.pipeline
    tickets = _calling(pipeline, 4)
    pipeline.execute("UPDATE jobs SET price_usd = 2 * price_usd WHERE id = :id", id=tickets[2].job_id)
    records = together.record(tickets)
    with pytest.raises(HandedToSweep):
        records[2].result(60)
    for one in (*records[:2], records[3]):
        one.result(60)
    assert _statuses(pipeline, tickets) == ["COMPLETED", "COMPLETED", "PROCESSING", "COMPLETED"]


def test_one_whose_job_was_cancelled_brings_a_duplicate_and_the_others_complete(together: Together) -> None:
    pipeline = together.pipeline
    tickets = _calling(pipeline, 3)
    pipeline.settlement.end([tickets[1].job_id], JobStatus.FAILED, "cancelled")
    for one in together.record(tickets):
        one.result(60)
    assert _statuses(pipeline, tickets) == ["COMPLETED", "FAILED", "COMPLETED"]
    found = pipeline.rows(
        "SELECT state, duplicate_images FROM attempts WHERE id = :id", id=tickets[1].attempt_id
    )
    assert found == [("SUCCEEDED", 1)]


def test_two_successes_of_one_job_that_come_together_are_one_image_and_a_duplicate(
    together: Together,
) -> None:
    pipeline = together.pipeline
    (early,) = _calling(pipeline, 1)
    job_id = early.job_id
    pipeline.execute("DELETE FROM processes WHERE id = :id", id=pipeline.process_id)
    pipeline.sweep.recover()
    pipeline.register(pipeline.process_id)
    end_back_off(pipeline)
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    pipeline.rung.clear()
    with pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, doorbell.attempt_id, pipeline.process_id, 180)
    late = _ticket(pipeline, doorbell.attempt_id)
    other = _ticket(pipeline, calling(pipeline)[1])
    for one in together.record([other, early, late]):
        one.result(60)
    assert pipeline.status(job_id) == "COMPLETED"
    assert pipeline.rows("SELECT count(*) FROM images WHERE job_id = :id", id=job_id) == [(1,)]
    assert pipeline.rows("SELECT sum(duplicate_images) FROM attempts WHERE job_id = :id", id=job_id) == [(1,)]
