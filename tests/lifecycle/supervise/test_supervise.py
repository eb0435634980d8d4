"""Batches pause, go on, are cancelled, expire and end; what is paid for is kept, every line is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from imagequeue.domain.batches import LineError
from imagequeue.domain.errors import AlreadyFinal, NotFound
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.verdicts import StoredImage, Succeeded
from imagequeue.lifecycle.operate.webhook_endpoints import EndpointFields, open_endpoint
from imagequeue.lifecycle.supervise.control import BatchChange
from imagequeue.lifecycle.supervise.supervise import ACCOUNT_SECONDS, PASS_SECONDS, EndFiles
from imagequeue.store.attempts import calls
from tests.backfill import Backfill, body
from tests.builders import PRICE, account
from tests.lifecycle.steps import UNTOUCHED, wallet
from tests.pipeline import Pipeline


@pytest.fixture
def backfill(pipeline: Pipeline) -> Backfill:
    return Backfill(pipeline)


def states(backfill: Backfill, batch_id: UUID) -> Counter[str]:
    return Counter(line.state for line in backfill.lines(batch_id))


def begin_calls(backfill: Backfill, count: int) -> list[UUID]:
    """Expand and dispatch everything, and begin the first calls; their attempts."""
    backfill.expand()
    backfill.pipeline.dispatch.run_once()
    first = [doorbell.attempt_id for doorbell in backfill.pipeline.rung[:count]]
    del backfill.pipeline.rung[:count]
    with backfill.pipeline.runtime.engine.begin() as connection:
        for attempt_id in first:
            assert calls.start(connection, attempt_id, backfill.pipeline.process_id, 180)
    return first


def succeed(backfill: Backfill, attempt_id: UUID) -> None:
    image = StoredImage(f"images/{attempt_id}.png", "image/png", 1, 1, 1, bytes(32))
    assert backfill.pipeline.settlement.settle(attempt_id, Succeeded((image,)))


def fail(backfill: Backfill, job_ids: list[UUID]) -> None:
    settlement = backfill.pipeline.settlement
    assert settlement.end(job_ids, JobStatus.FAILED, "against the rules", LineError.REFUSED) == job_ids


def test_a_paused_batch_makes_no_call_and_keeps_its_places_and_holds(backfill: Backfill) -> None:
    batch_id = backfill.create([body(number) for number in range(6)])
    (sent,) = begin_calls(backfill, 1)
    backfill.control.pause(backfill.pipeline.account_id, batch_id)
    backfill.pipeline.answer()
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"operator"})
    assert backfill.pipeline.calls() == []
    succeed(backfill, sent)
    assert backfill.counts(batch_id) == {
        "total": 6, "queued": 5, "completed": 1, "finished": 1, "images": 1,
        "held_usd": 5 * PRICE, "spent_usd": PRICE,
    }  # fmt: skip
    backfill.control.resume(backfill.pipeline.account_id, batch_id)
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert states(backfill, batch_id) == {"completed": 6}


def test_cancel_returns_the_holds_and_keeps_what_is_paid_for(backfill: Backfill) -> None:
    batch_id = backfill.create([body(number) for number in range(6)], line_limit=4)
    sent, other = begin_calls(backfill, 2)
    backfill.control.cancel(backfill.pipeline.account_id, batch_id)
    backfill.control.cancel(backfill.pipeline.account_id, batch_id)
    backfill.pipeline.answer()
    backfill.run()
    assert backfill.state(batch_id) == ("cancelling", set())
    succeed(backfill, sent)
    backfill.pipeline.execute(
        "UPDATE attempts SET call_deadline = clock_timestamp() WHERE id = :id", id=other
    )
    backfill.pipeline.register(new_id())
    backfill.pipeline.execute(
        "UPDATE attempts SET process_id = :id WHERE id = :other", id=new_id(), other=other
    )
    backfill.pipeline.sweep.recover()
    backfill.run()
    assert backfill.state(batch_id) == ("cancelled", set())
    assert states(backfill, batch_id) == {"completed": 1, "cancelled": 5}
    assert {line.error_code for line in backfill.lines(batch_id)} == {None, "batch_cancelled"}
    assert wallet(backfill.pipeline) == [(1000 - PRICE, 0, PRICE)]
    assert backfill.pipeline.calls() == []
    with pytest.raises(AlreadyFinal):
        backfill.control.cancel(backfill.pipeline.account_id, batch_id)


def test_a_batch_whose_window_is_over_keeps_what_has_finished(backfill: Backfill) -> None:
    batch_id = backfill.create([body(number) for number in range(4)], line_limit=2)
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"operator"})
    backfill.pipeline.execute("UPDATE batches SET expires_at = clock_timestamp()")
    backfill.run()
    assert backfill.state(batch_id) == ("expired", set())
    assert [line.error_code for line in backfill.lines(batch_id)] == [None, None, *["batch_expired"] * 2]


def test_a_batch_runs_its_first_lines_waits_for_a_person_and_then_runs_the_others(backfill: Backfill) -> None:
    batch_id = backfill.create([body(number) for number in range(5)], line_limit=2)
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"operator"})
    assert [line.state for line in backfill.lines(batch_id)] == [*["completed"] * 2, *["waiting"] * 3]
    backfill.control.resume(backfill.pipeline.account_id, batch_id)
    backfill.run()
    assert states(backfill, batch_id) == {"completed": 5}


def test_a_retry_asks_for_the_failed_lines_alone_and_its_end_has_files_of_its_own(backfill: Backfill) -> None:
    refused = {"kind": "status", "status": 400, "count": 2}
    backfill.pipeline.fault(**refused)
    batch_id = backfill.create([body(number) for number in range(5)])
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert states(backfill, batch_id) == {"completed": 3, "failed": 2}
    before = {line.number: line.job_id for line in backfill.lines(batch_id) if line.state == "completed"}
    backfill.control.retry(backfill.pipeline.account_id, batch_id)
    assert backfill.state(batch_id) == ("in_progress", set())
    backfill.run()
    after = {line.number: line.job_id for line in backfill.lines(batch_id)}
    assert {number: after[number] for number in before} == before
    assert len(backfill.pipeline.calls()) == 7
    assert max(line.finished for line in backfill.lines(batch_id)) == 7
    assert backfill.counts(batch_id) == {
        "total": 5, "completed": 5, "finished": 7, "images": 5, "spent_usd": 5 * PRICE
    }  # fmt: skip
    assert backfill.state(batch_id) == ("completed", set())


def test_a_retry_by_another_code_retries_nothing_and_the_batch_stays_completed(backfill: Backfill) -> None:
    backfill.pipeline.fault(kind="status", status=400, count=1)
    batch_id = backfill.create([body(1)])
    backfill.run()
    read = "SELECT * FROM batches WHERE id = :id"
    before = backfill.pipeline.rows(read, id=batch_id)
    assert before[0].state == "completed"
    backfill.control.retry(backfill.pipeline.account_id, batch_id, ["not_served"])
    assert backfill.pipeline.rows(read, id=batch_id) == before
    backfill.run()
    assert states(backfill, batch_id) == {"failed": 1}
    assert len(backfill.pipeline.calls()) == 1


def test_the_brake_pauses_a_batch_of_which_too_much_fails_until_a_person_resumes_it(
    backfill: Backfill,
) -> None:
    batch_id = backfill.create([body(number) for number in range(60)])
    backfill.expand()
    job_ids = [line.job_id for line in backfill.lines(batch_id)]
    fail(backfill, job_ids[:49])
    backfill.supervision.run_once()
    assert backfill.state(batch_id) == ("in_progress", set())  # so few say nothing
    fail(backfill, job_ids[49:51])
    backfill.supervision.run_once()
    assert backfill.state(batch_id) == ("paused", {"failure_rate"})
    backfill.run()
    assert states(backfill, batch_id) == {"failed": 51, "queued": 9}
    backfill.control.resume(backfill.pipeline.account_id, batch_id)
    backfill.run()
    assert states(backfill, batch_id) == {"failed": 51, "completed": 9}


def test_lines_whose_outcome_is_unknown_wait_for_a_person_who_retries_them(backfill: Backfill) -> None:
    backfill.pipeline.fault(kind="status", status=504, count=1)
    batch_id = backfill.create([body(1), body(2)], on_unknown="hold")
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"unknown_outcomes"})
    assert states(backfill, batch_id) == {"unknown": 1, "completed": 1}
    backfill.control.retry(backfill.pipeline.account_id, batch_id)
    backfill.run()
    assert backfill.state(batch_id) == ("paused", {"unknown_outcomes"})
    backfill.control.retry(backfill.pipeline.account_id, batch_id, ["unknown_outcome"])
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert states(backfill, batch_id) == {"completed": 2}


def test_lines_whose_outcome_is_unknown_can_be_given_up(backfill: Backfill) -> None:
    backfill.pipeline.fault(kind="status", status=504, count=1)
    batch_id = backfill.create([body(1)], on_unknown="hold")
    backfill.run()
    backfill.control.give_up(backfill.pipeline.account_id, batch_id)
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert states(backfill, batch_id) == {"failed": 1}
    assert wallet(backfill.pipeline) == UNTOUCHED


def test_a_batch_ends_when_its_files_are_written_and_not_before(backfill: Backfill) -> None:
    batch_id, answers = backfill.create([body(1)]), [None, None, None, EndFiles()]
    backfill.supervision.write_files = lambda _: answers.pop(0)
    backfill.run()
    assert backfill.state(batch_id) == ("finalizing", set())
    backfill.supervision.run_once()
    assert backfill.state(batch_id) == ("finalizing", set())
    backfill.supervision.run_once()
    assert backfill.state(batch_id) == ("completed", set())


@dataclass
class SlowFiles:
    """Files of batches that never get written; each time that they are asked for takes `seconds`."""

    seconds: float
    moment: float = 0.0
    asked: list[UUID] = field(default_factory=list[UUID])

    def __call__(self, batch_id: UUID) -> None:
        self.asked.append(batch_id)
        self.moment += self.seconds


def ending(backfill: Backfill, count: int, seconds: float) -> tuple[list[UUID], SlowFiles]:
    """So many batches whose lines have finished, and the files that they wait for from here on."""
    made, files = [backfill.create([body(1)]) for _ in range(count)], SlowFiles(seconds)
    backfill.supervision.write_files = lambda _: None
    backfill.run()
    assert {backfill.state(one)[0] for one in made} == {"finalizing"}
    backfill.supervision.write_files, backfill.supervision.clock = files, lambda: files.moment
    return made, files


def test_a_pass_that_has_no_more_time_is_followed_by_one_that_goes_on_behind_it(backfill: Backfill) -> None:
    (first, second), files = ending(backfill, 2, PASS_SECONDS)
    for _ in range(4):
        backfill.supervision.run_once()
    assert files.asked == [first, second, first]  # the third found nothing behind the second


def test_batches_of_one_account_leave_time_for_those_of_others(backfill: Backfill) -> None:
    (first, _, third), files = ending(backfill, 3, ACCOUNT_SECONDS)
    other, _ = account(backfill.pipeline.runtime.engine, "other")
    backfill.pipeline.execute("UPDATE batches SET account_id = :other WHERE id = :id", other=other, id=third)
    backfill.supervision.run_once()
    assert files.asked == [first, third]


def test_each_reason_and_the_end_of_a_batch_are_told_once(backfill: Backfill) -> None:
    batch_id = backfill.create([body(1), body(2)], webhook_url="http://127.0.0.1:9/", budget_usd=PRICE)
    backfill.run()
    backfill.run()
    backfill.control.change(backfill.pipeline.account_id, batch_id, BatchChange(budget_usd=2 * PRICE))
    backfill.run()
    bodies = backfill.pipeline.rows(
        "SELECT body FROM deliveries WHERE batch_id = :id ORDER BY id", id=batch_id
    )
    assert ['"reason":"budget"' in row.body for row in bodies] == [True, False]
    assert '"status":"completed"' in bodies[1].body


def test_another_accounts_batch_is_not_found(backfill: Backfill) -> None:
    batch_id = backfill.create([body(1)])
    with pytest.raises(NotFound):
        backfill.control.pause(new_id(), batch_id)


def test_a_new_weight_is_that_of_all_flows(backfill: Backfill) -> None:
    batch_id = backfill.create([body(1), body(2, n=2)])
    backfill.control.change(backfill.pipeline.account_id, batch_id, BatchChange(weight=7))
    assert backfill.pipeline.rows("SELECT weight FROM flows") == [(7,), (7,)]


@pytest.mark.parametrize("asked", [False, True])
def test_endpoints_are_told_of_single_lines_only_when_the_batch_asks_for_it(
    backfill: Backfill, *, asked: bool
) -> None:
    pipeline = backfill.pipeline
    fields = EndpointFields("hook", "https://example.com/hook", ["request.completed"])
    open_endpoint(pipeline.runtime, pipeline.account_id, fields)
    backfill.create([body(1), body(2)], line_webhooks=asked)
    backfill.run()
    assert pipeline.rows("SELECT count(*)::int FROM deliveries") == [(2 if asked else 0,)]
