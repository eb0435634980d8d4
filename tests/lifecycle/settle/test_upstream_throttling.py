"""What a 429 does to its quota group: how long it pauses, what is an echo, probes, drift of the quota."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.upstream import Throttled
from imagequeue.store.attempts import calls
from tests import fleet
from tests.lifecycle.steps import end_back_off
from tests.lifecycle.two_deployments import complete, fault, group, pause_of
from tests.loopback import NO_TLS
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long

ONE: dict[str, dict[str, Any]] = {"east": {"rpm": 20, "pace": False}}


@pytest.fixture
def single(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One deployment that may have a burst of calls."""
    with fleet.pipeline(engine, database_url, tmp_path, ONE) as made:
        yield made


START_NOW = "UPDATE attempts SET slot_at = clock_timestamp() WHERE id = :id"
"""A busy machine may be later than a start may be."""


def sent(of: Pipeline, count: int) -> list[UUID]:
    """So many calls, sent, and not answered yet; the pause after a 429 before them is over."""
    of.execute("UPDATE quota_groups SET blocked_until = NULL, last_slot_at = NULL")
    of.submit(count - len(of.rows("SELECT 1 FROM jobs")))
    assert of.dispatch.run_once() == count
    ids = [doorbell.attempt_id for doorbell in of.rung]
    of.rung.clear()
    with of.runtime.engine.begin() as connection:
        for attempt_id in ids:
            connection.execute(text(START_NOW), {"id": attempt_id})
            assert calls.start(connection, attempt_id, of.process_id, 60)
            calls.record_sent(connection, {attempt_id: 0})
    return ids


def answer_429(of: Pipeline, attempt_id: UUID, hint: float | None = None) -> None:
    of.settlement.settle(attempt_id, Throttled("slow down", retry_after=hint), of.process_id)


def totals(of: Pipeline) -> Any:
    (row,) = of.rows("""
        SELECT throttled, throttled_in_a_row, drifts, effective_rpm,
            extract(epoch FROM blocked_until - throttled_at)::float8 AS pause
        FROM quota_groups
    """)
    return row


def test_one_burst_of_429s_is_one_429(single: Pipeline) -> None:
    attempts, began = sent(single, 6), time.monotonic()
    for attempt_id in attempts:
        answer_429(single, attempt_id)
    took = time.monotonic() - began
    found = totals(single)
    assert (found.throttled, found.throttled_in_a_row, found.drifts, found.effective_rpm) == (6, 1, 1, 20)
    assert 0.99 <= found.pause <= 1.01 + took  # each pauses for as long, from when it came
    assert single.rows("SELECT DISTINCT state FROM attempts") == [("THROTTLED",)]


def test_the_hint_of_an_echo_is_believed(single: Pipeline) -> None:
    first, second, third = sent(single, 3)
    answer_429(single, first)
    answer_429(single, second, hint=30)
    answer_429(single, third, hint=2)
    found = totals(single)
    assert (found.throttled_in_a_row, found.drifts) == (1, 1)
    assert found.pause >= 30


def test_a_429_of_a_call_that_was_sent_since_counts(single: Pipeline) -> None:
    for attempt_id in sent(single, 3):
        answer_429(single, attempt_id)
    for attempt_id in sent(single, 3):
        answer_429(single, attempt_id)
    found = totals(single)
    assert (found.throttled, found.throttled_in_a_row, found.drifts, found.effective_rpm) == (6, 2, 2, 16)
    assert found.pause == pytest.approx(2, abs=0.01)


def test_an_echo_that_says_the_quota_is_used_up_is_news(single: Pipeline) -> None:
    first, second = sent(single, 2)
    answer_429(single, first)
    answer_429(single, second, hint=86400)
    assert single.rows("SELECT out_of_quota FROM quota_groups") == [(True,)]
    assert totals(single).pause == pytest.approx(900, abs=0.01)


def test_what_was_released_before_a_429_is_not_called_after_it(single: Pipeline) -> None:
    single.fault(kind="status", status=429, headers={"retry-after": "5"}, count=1)
    jobs = single.submit(4)
    assert single.dispatch.run_once() == 4
    single.answer()
    assert len(single.calls()) == 1
    assert [single.states(job_id) for job_id in jobs] == [["THROTTLED"], *[["GIVEN_BACK"]] * 3]
    assert single.rows("SELECT DISTINCT failures FROM jobs") == [(0,)]
    free = "SELECT count(*) FROM attempts WHERE token_returns_at <= clock_timestamp()"
    assert single.rows(free) == [(3,)]


def test_after_the_pause_they_go_one_first(single: Pipeline) -> None:
    single.fault(kind="status", status=429, headers={"retry-after": "5"}, count=1)
    jobs = single.submit(4)
    single.run()
    single.execute("UPDATE quota_groups SET blocked_until = clock_timestamp()")
    assert single.dispatch.run_once() == 1  # the next is three seconds later
    single.answer()
    assert len(single.calls()) == 2
    assert sum(single.status(job_id) == "COMPLETED" for job_id in jobs) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "3", "x-ms-retry-after-ms": "9000"}, 9),
        ({"retry-after-ms": "100"}, 0.5),
        ({}, 1),
    ],
)
def test_a_429_moves_its_job_on_and_costs_it_nothing(
    two: Pipeline, headers: dict[str, str], seconds: float
) -> None:
    fault(two, status=429, headers=headers)
    (job_id,) = two.submit(1)
    two.dispatch.run_once()
    two.answer()
    assert pause_of(two) == pytest.approx(seconds, abs=0.05)
    complete(two, 1)
    assert two.states(job_id)[0] == "THROTTLED"
    assert two.rows("SELECT failures FROM jobs")[0].failures == 0


def test_429s_without_a_hint_double_the_pause_and_a_success_ends_the_row(two: Pipeline) -> None:
    fault(two, status=429, count=3)
    two.execute("UPDATE quota_groups SET blocked_until = 'infinity' WHERE name = 'west'")
    two.submit(1)
    for seconds in (1, 2, 4):
        two.dispatch.run_once()
        two.answer()
        assert pause_of(two) == pytest.approx(seconds, abs=0.05)
        two.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() WHERE name = 'east'")
        end_back_off(two)
    complete(two, 1)
    assert group(two).throttled_in_a_row == 0


def test_impossible_429s_widen_the_guard_and_shrink_r(two: Pipeline) -> None:
    fault(two, status=429, headers={"retry-after-ms": "500"}, count=2)
    for _ in range(2):
        two.submit(1)
        two.dispatch.run_once()
        two.answer()
        two.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() WHERE name = 'east'")
    found = group(two)
    assert found.drifts == 2
    assert found.drift.extra_guard == pytest.approx(0.2)
    assert found.quota.rpm == 800
    two.execute("UPDATE quota_groups SET clean_since = clean_since - interval '10 minutes'")
    two.submit(1)
    two.dispatch.run_once()
    assert group(two).quota.rpm == 850


def test_foreign_traffic_is_tolerated_and_visible(engine: Engine, database_url: str, tmp_path: Path) -> None:
    given = {"east": {"rpm": 10, "window_seconds": 1, "guard_ms": 200}}
    with fleet.pipeline(engine, database_url, tmp_path, given) as shared:
        request = {"upstream": "east", "model": "mai", "share": 0.3}
        httpx.post(
            f"{shared.simulator.url}/_sim/foreign", json=request, trust_env=False, verify=NO_TLS
        ).raise_for_status()
        jobs = list[UUID]()
        with fleet.Crew(shared, dispatchers=1, workers=6) as crew:
            while not group(shared).throttled:  # a slow machine may take long to meet the limit
                jobs += shared.submit(60)
                crew.await_final(len(jobs))
        found = group(shared)
        report = fleet.quotas(shared.simulator.url)["east"]
        assert report["maximum_in_window"] <= 10
        assert report["foreign_admitted"] > 0
        assert found.drifts <= found.throttled == report["throttled"]  # an echo is no drift
        assert (found.drifts > 0) == (found.throttled > 0), "a slow machine may meet none"
        assert shared.rows("SELECT DISTINCT status, failures FROM jobs") == [("COMPLETED", 0)]
