"""Whoever moves a batch dies between two commits: a line has its job or waits, and is counted as that."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.backfill import Backfill, body
from tests.builders import PRICE
from tests.crash.conftest import Crash

_ALONE = """
    SELECT count(*)::int FROM jobs JOIN flows ON flows.id = flow_id
    WHERE batch_id = :id AND status IN ('QUEUED', 'PROCESSING')
        AND NOT EXISTS (SELECT FROM batch_lines WHERE job_id = jobs.id AND state = 'queued')
"""


def check(backfill: Backfill, batch_id: UUID) -> dict[str, object]:
    """The counters are what the lines say, every live job has its line, and the holds are those of both."""
    counts = backfill.counts(batch_id)
    assert backfill.pipeline.rows(_ALONE, id=batch_id) == [(0,)]
    assert backfill.pipeline.rows("SELECT held, spent FROM wallets") == [
        (counts.get("held_usd", 0), counts.get("spent_usd", 0))
    ]
    return counts


@pytest.mark.parametrize("place", ["before", "after"])
def test_between_the_jobs_of_lines_and_their_commit(crash: Crash, place: str) -> None:
    backfill = Backfill(crash.pipeline)
    batch_id = backfill.create([body(number) for number in range(4)])
    crash.die("expand", f"expand.{place}_commit")
    counts = check(backfill, batch_id)
    assert counts.get("queued", 0) == (4 if place == "after" else 0)
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert check(backfill, batch_id)["spent_usd"] == 4 * PRICE
    assert crash.generated() == [1] * 4


@pytest.mark.parametrize("place", ["before", "after"])
def test_between_the_outcome_of_a_lines_call_and_its_commit(crash: Crash, place: str) -> None:
    backfill = Backfill(crash.pipeline)
    batch_id = backfill.create([body(1)])
    backfill.expand()
    crash.pipeline.dispatch.run_once()
    (doorbell,) = crash.pipeline.rung
    crash.pipeline.rung.clear()
    crash.die("generate", f"settle.{place}_commit", doorbell.attempt_id)
    counts = check(backfill, batch_id)
    assert counts.get("completed", 0) == (1 if place == "after" else 0)
    crash.recover()
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert check(backfill, batch_id)["completed"] == 1
    assert crash.generated() == [1]


@pytest.mark.parametrize("at", ["before_commit", "finishing"])
def test_between_the_end_of_a_batch_and_its_commit(crash: Crash, at: str) -> None:
    backfill = Backfill(crash.pipeline)
    batch_id = backfill.create([body(1)], webhook_url="http://127.0.0.1:9/")
    backfill.expand()
    crash.pipeline.run()
    crash.die("supervise", f"supervise.{at}")
    backfill.run()
    assert backfill.state(batch_id) == ("completed", set())
    assert crash.pipeline.rows("SELECT count(*)::int FROM deliveries") == [(1,)]


def test_between_two_steps_of_a_retry(crash: Crash) -> None:
    backfill = Backfill(crash.pipeline)
    crash.pipeline.fault(kind="status", status=400, count=1)
    batch_id = backfill.create([body(1), body(2)])
    backfill.run()
    backfill.control.retry(crash.pipeline.account_id, batch_id)
    crash.die("supervise", "supervise.retrying")
    check(backfill, batch_id)
    backfill.run()
    assert check(backfill, batch_id)["completed"] == 2
    assert len(crash.pipeline.calls()) == 3


def test_between_two_steps_of_a_cancel(crash: Crash) -> None:
    backfill = Backfill(crash.pipeline)
    batch_id = backfill.create([body(number) for number in range(4)], line_limit=2)
    backfill.expand()
    backfill.control.cancel(crash.pipeline.account_id, batch_id)
    crash.die("supervise", "supervise.ending")
    check(backfill, batch_id)
    crash.die("supervise", "supervise.finishing")
    assert check(backfill, batch_id)["cancelled"] == 4
    backfill.run()
    assert backfill.state(batch_id) == ("cancelled", set())
    assert crash.pipeline.calls() == []
