"""When trying ends: rounds of an outage, calls in doubt, refusals, cancelling; and what is charged then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text

from imagequeue import wiring
from imagequeue.domain.batches import OnUnknown
from imagequeue.domain.jobs import JobStatus
from imagequeue.lifecycle.operate.webhook_endpoints import EndpointFields, open_endpoint
from tests.builders import account
from tests.lifecycle.generate.refusing import breaking_commit
from tests.lifecycle.steps import UNTOUCHED, end_back_off, wallet
from tests.locks import WALLET, holding, wait_until_blocked
from tests.pipeline import Pipeline, RunningPipeline


@pytest.fixture
def cautious(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with RunningPipeline(engine, database_url, tmp_path, retry_ambiguous=False) as running:
        yield running


def test_an_outage_uses_up_rounds_and_not_the_calls_of_one_round(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=4)
    pipeline.fault(kind="status", status=500, count=6)
    delays = list[float]()
    for failures in (1, 2):
        assert pipeline.dispatch.run_once() == 4
        pipeline.generation.run(pipeline.rung.pop(0).attempt_id)
        (row,) = pipeline.rows(
            "SELECT extract(epoch FROM not_before - failed_at)::float8 AS delay FROM job_failures"
        )
        delays.append(row.delay)
        pipeline.answer()
        assert pipeline.rows("SELECT failures FROM jobs") == [(failures,)]
        end_back_off(pipeline)
    assert 1.5 <= delays[0] <= 2
    assert 6 <= delays[1] <= 8
    assert pipeline.states(job_id).count("UNAVAILABLE") == 6
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"


def test_an_outage_that_lasts_ends_a_job_after_its_rounds_however_many_images_it_has(
    pipeline: Pipeline,
) -> None:
    pipeline.fault(kind="status", status=500)
    (job_id,) = pipeline.submit(image_count=4)
    for _ in range(6):
        pipeline.execute("DELETE FROM deployment_states")  # the breaker is another matter
        end_back_off(pipeline)
        assert pipeline.status(job_id) in {"QUEUED", "PROCESSING"}
        assert pipeline.dispatch.run_once() == 4
        pipeline.answer()
    assert pipeline.status(job_id) == "ERROR"
    assert wallet(pipeline) == UNTOUCHED


def test_a_doubt_that_may_not_be_repeated_is_an_error_and_free(cautious: Pipeline) -> None:
    (job_id,) = cautious.submit()
    cautious.fault(kind="reset", stage="after_admission", count=1)
    cautious.run()
    assert (cautious.status(job_id), cautious.states(job_id)) == ("ERROR", ["UNKNOWN"])
    assert len(cautious.calls()) == 1
    assert wallet(cautious) == UNTOUCHED


def test_a_doubt_that_may_be_repeated_is_charged_once(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.fault(kind="reset", stage="after_admission", count=1)
    pipeline.run()
    end_back_off(pipeline)
    pipeline.run()
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["UNKNOWN", "SUCCEEDED"])
    kinds = pipeline.rows("SELECT kind FROM ledger_entries WHERE job_id IS NOT NULL ORDER BY id")
    assert [row.kind for row in kinds] == ["HOLD", "CAPTURE"]


def test_what_an_upstream_says_can_always_be_stored(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.fault(
        kind="status",
        status=400,
        body='{"error": {"code": "content_policy_violation", "message": "no\\u0000 \\ud800 way"}}',
        count=1,
    )
    pipeline.run()
    assert pipeline.status(job_id) == "FAILED"


def test_a_cancelled_job_makes_no_call(pipeline: Pipeline) -> None:
    waiting, released = pipeline.submit(2)
    pipeline.execute("UPDATE jobs SET not_before = NULL")
    pipeline.settlement.end([waiting], JobStatus.FAILED, "cancelled")
    assert pipeline.dispatch.run_once() == 1
    pipeline.settlement.end([released], JobStatus.FAILED, "cancelled")
    pipeline.answer()
    assert pipeline.dispatch.run_once() == 0
    assert pipeline.calls() == []
    assert [pipeline.status(job_id) for job_id in (waiting, released)] == ["FAILED", "FAILED"]
    assert wallet(pipeline) == UNTOUCHED
    assert pipeline.settlement.end([waiting, released], JobStatus.FAILED, "cancelled") == []


def test_a_call_in_flight_of_a_cancelled_job_is_a_cost_and_not_charged(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.fault(kind="delay", seconds=1)
    pipeline.dispatch.run_once()
    thread = threading.Thread(target=pipeline.answer)
    thread.start()
    while pipeline.states(job_id) != ["CALLING"]:
        assert thread.is_alive()
    assert pipeline.settlement.end([job_id], JobStatus.FAILED, "cancelled") == [job_id]
    thread.join(120)
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("FAILED", ["SUCCEEDED"])
    assert pipeline.rows("SELECT duplicate_images FROM attempts") == [(1,)]
    assert pipeline.rows("SELECT count(*) FROM images") == [(0,)]
    assert wallet(pipeline) == UNTOUCHED


def test_ending_many_jobs_locks_wallets_in_account_order(pipeline: Pipeline) -> None:
    first, second = sorted([pipeline.account_id, account(pipeline.runtime.engine, "other", "1000")[0]])
    jobs = list[UUID]()
    for account_id in (second, first):  # the older job is of the account that is locked later
        pipeline.account_id = account_id
        jobs += pipeline.submit()
    lock = text("SELECT 1 FROM wallets WHERE account_id = :id FOR UPDATE")
    ending = threading.Thread(target=pipeline.settlement.end, args=(jobs, JobStatus.ERROR, "late"))
    with pipeline.runtime.engine.begin() as connection:
        connection.execute(lock, {"id": first})
        ending.start()
        wait_until_blocked(pipeline.runtime.engine)
        connection.execute(text("SET LOCAL lock_timeout = '2s'"))
        connection.execute(lock, {"id": second})
    ending.join(120)
    assert {pipeline.status(job_id) for job_id in jobs} == {"ERROR"}


def test_ending_many_jobs_locks_quota_groups_before_wallets_as_settling_does(pipeline: Pipeline) -> None:
    """The later account's job has the probe of a group; the other account's wallet stays free meanwhile."""
    first, second = sorted([pipeline.account_id, account(pipeline.runtime.engine, "other", "1000")[0]])
    pipeline.account_id = second
    jobs = pipeline.submit()
    assert pipeline.dispatch.run_once() == 1
    pipeline.account_id = first
    jobs += pipeline.submit()
    pipeline.execute("""
        UPDATE quota_groups SET out_of_quota = true, throttled_at = clock_timestamp() - interval '1 hour',
            blocked_until = clock_timestamp() - interval '1 hour'
    """)
    ending = threading.Thread(target=pipeline.settlement.end, args=(jobs, JobStatus.ERROR, "late"))
    with holding(pipeline.runtime.engine, "SELECT FROM quota_groups FOR UPDATE"):
        ending.start()
        wait_until_blocked(pipeline.runtime.engine)
        with holding(pipeline.runtime.engine, f"{WALLET} NOWAIT", account_id=first):
            pass
    ending.join(120)
    assert {pipeline.status(job_id) for job_id in jobs} == {"ERROR"}


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_that_breaks_at_settles_commit_charges_once(pipeline: Pipeline, *, after: bool) -> None:
    (job_id,) = pipeline.submit(webhook_url="https://receiver.example.com/hook")
    pipeline.dispatch.run_once()
    with breaking_commit(pipeline.runtime.engine, "INSERT INTO job_results", after=after) as broken:
        pipeline.answer()
    assert broken
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    kinds = pipeline.rows("SELECT kind FROM ledger_entries WHERE job_id = :id ORDER BY id", id=job_id)
    assert [row.kind for row in kinds] == ["HOLD", "CAPTURE"]
    assert pipeline.rows("SELECT count(*) FROM deliveries") == [(1,)]


def test_an_ended_job_leaves_no_attempt_open(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=2)
    pipeline.dispatch.run_once()
    pipeline.execute(
        "UPDATE attempts SET state = 'SLEEPING', upstream_reference = 'r' WHERE id = :id",
        id=pipeline.rung[0].attempt_id,
    )
    assert pipeline.settlement.end([job_id], JobStatus.FAILED, "cancelled") == [job_id]
    assert sorted(pipeline.states(job_id)) == ["GIVEN_BACK", "LOST"]
    assert pipeline.answer() == 2
    assert pipeline.calls() == []
    assert pipeline.rows("SELECT available, held, spent FROM wallets") == [(1000, 0, 0)]


def test_ending_many_jobs_takes_as_many_statements_as_ending_one(pipeline: Pipeline) -> None:
    for path in ("a", "b"):
        fields = EndpointFields(path, f"https://receiver.example.com/{path}", ["request.*"])
        open_endpoint(pipeline.runtime, pipeline.account_id, fields)
    statements = list[str]()
    event.listen(pipeline.runtime.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts = list[int]()
    for count in (1, 30):
        jobs = pipeline.submit(count, webhook_url="https://receiver.example.com/hook")
        statements.clear()
        assert len(pipeline.settlement.end(jobs, JobStatus.FAILED, "cancelled")) == count
        counts.append(len(statements))
    assert counts[0] == counts[1]
    told = pipeline.rows("SELECT job_id, count(*) FROM deliveries GROUP BY job_id")
    assert [row.count for row in told] == [3] * 31


@pytest.mark.parametrize(("schedule", "seconds"), [("0,5", (0, 0)), ("30,5", (30, 36)), ("0.5", (0.5, 0.6))])
def test_the_first_entry_of_the_webhook_schedule_is_the_first_attempts(
    pipeline: Pipeline, schedule: str, seconds: tuple[float, float]
) -> None:
    settings = pipeline.runtime.settings.model_copy(update={"webhook_schedule": schedule})
    pipeline.runtime.settings = settings
    settlement = wiring.settlement(pipeline.runtime, lambda _: None)
    jobs = pipeline.submit(2, webhook_url="https://receiver.example.com/hook")
    settlement.end(jobs, JobStatus.FAILED, "cancelled")
    rows = pipeline.rows("""
        SELECT extract(epoch FROM next_attempt_at - jobs.finished_at)::float8 AS delay
        FROM deliveries JOIN jobs ON jobs.id = job_id
    """)
    assert len(rows) == 2
    assert all(seconds[0] <= row.delay <= seconds[1] for row in rows)


@pytest.mark.parametrize("on_unknown", [OnUnknown.FAIL, OnUnknown.HOLD])
def test_a_client_may_forbid_to_repeat_a_call_in_doubt(pipeline: Pipeline, on_unknown: OnUnknown) -> None:
    pipeline.fault(kind="status", status=504)
    (job_id,) = pipeline.submit(on_unknown=on_unknown)
    pipeline.run()
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("ERROR", ["UNKNOWN"])
    assert len(pipeline.calls()) == 1
    assert wallet(pipeline) == UNTOUCHED
