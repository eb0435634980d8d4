"""A burst of calls that meets a 429: what was sent with it is an echo, what was not sent yet stays here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.upstream import Throttled
from imagequeue.store.attempts import calls
from tests import fleet
from tests.pipeline import Pipeline

ONE: dict[str, dict[str, Any]] = {"east": {"rpm": 20, "pace": False}}


@pytest.fixture
def single(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One deployment that may have a burst of calls."""
    with fleet.pipeline(engine, database_url, tmp_path, ONE) as made:
        yield made


def sent(of: Pipeline, count: int) -> list[UUID]:
    """So many calls, sent, and not answered yet; the rest of a 429 before them has passed."""
    of.execute("UPDATE quota_groups SET blocked_until = NULL, last_slot_at = NULL")
    of.submit(count - len(of.rows("SELECT 1 FROM jobs")))
    assert of.dispatch.run_once() == count
    ids = [doorbell.attempt_id for doorbell in of.rung]
    of.rung.clear()
    with of.runtime.engine.begin() as connection:
        for attempt_id in ids:
            assert calls.start(connection, attempt_id, of.process_id, 60)
            calls.record_sent(connection, attempt_id, ago=0)
    return ids


def throttle(of: Pipeline, attempt_id: UUID, hint: float | None = None) -> None:
    of.settlement.settle(attempt_id, Throttled("slow down", retry_after=hint), of.process_id)


def group(of: Pipeline) -> Any:
    (row,) = of.rows("""
        SELECT throttled, throttled_in_a_row, drifts, effective_rpm,
            extract(epoch FROM blocked_until - throttled_at)::float8 AS rest
        FROM quota_groups
    """)
    return row


def test_one_burst_of_429s_is_one_429(single: Pipeline) -> None:
    for attempt_id in sent(single, 6):
        throttle(single, attempt_id)
    found = group(single)
    assert (found.throttled, found.throttled_in_a_row, found.drifts, found.effective_rpm) == (6, 1, 1, 20)
    assert found.rest == pytest.approx(1, abs=0.01)
    assert single.rows("SELECT DISTINCT state FROM attempts") == [("THROTTLED",)]


def test_the_hint_of_an_echo_is_believed(single: Pipeline) -> None:
    first, second, third = sent(single, 3)
    throttle(single, first)
    throttle(single, second, hint=30)
    throttle(single, third, hint=2)
    found = group(single)
    assert (found.throttled_in_a_row, found.drifts) == (1, 1)
    assert found.rest >= 30


def test_a_429_of_a_call_that_was_sent_since_counts(single: Pipeline) -> None:
    for attempt_id in sent(single, 3):
        throttle(single, attempt_id)
    for attempt_id in sent(single, 3):
        throttle(single, attempt_id)
    found = group(single)
    assert (found.throttled, found.throttled_in_a_row, found.drifts, found.effective_rpm) == (6, 2, 2, 16)
    assert found.rest == pytest.approx(2, abs=0.01)


def test_an_echo_that_says_the_quota_is_used_up_is_news(single: Pipeline) -> None:
    first, second = sent(single, 2)
    throttle(single, first)
    throttle(single, second, hint=86400)
    assert single.rows("SELECT out_of_quota FROM quota_groups") == [(True,)]
    assert group(single).rest == pytest.approx(900, abs=0.01)


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


def test_after_the_rest_they_go_one_first(single: Pipeline) -> None:
    single.fault(kind="status", status=429, headers={"retry-after": "5"}, count=1)
    jobs = single.submit(4)
    single.run()
    single.execute("UPDATE quota_groups SET blocked_until = clock_timestamp()")
    assert single.dispatch.run_once() == 1  # the next is three seconds later
    single.answer()
    assert len(single.calls()) == 2
    assert sum(single.status(job_id) == "COMPLETED" for job_id in jobs) == 1
