"""A used up quota: it is probed with one call every quarter of an hour, and what becomes of that call."""

from __future__ import annotations

from typing import Any

import pytest

from imagequeue.domain.jobs import JobStatus
from tests.lifecycle.two_deployments import (
    blocked_for,
    calls_at,
    complete,
    fault,
    group,
    no_more_faults,
    pause_of,
)
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long


@pytest.fixture
def out_of_quota(two: Pipeline) -> Pipeline:
    """East's quota is used up, and its next probe is due."""
    two.execute("""
        UPDATE quota_groups
        SET out_of_quota = true, throttled_at = clock_timestamp() - interval '15 minutes',
            blocked_until = clock_timestamp()
        WHERE name = 'east'
    """)
    return two


def _probe(of: Pipeline) -> Any:
    of.beat()
    of.submit(1)
    of.dispatch.run_once()
    (row,) = of.rows("SELECT id, job_id FROM attempts WHERE deployment = 'east' AND state = 'RELEASED'")
    assert blocked_for(group(of)) > 800
    return row


def test_a_cancelled_probe_of_a_used_up_quota_does_not_cost_a_quarter_of_an_hour(
    out_of_quota: Pipeline,
) -> None:
    probe = _probe(out_of_quota)
    out_of_quota.settlement.end([probe.job_id], JobStatus.FAILED, "cancelled")
    assert blocked_for(group(out_of_quota)) <= 0


def test_a_probe_that_is_given_back_does_not_either(out_of_quota: Pipeline) -> None:
    _probe(out_of_quota)
    out_of_quota.stopping.set()
    out_of_quota.answer()
    assert blocked_for(group(out_of_quota)) <= 0
    out_of_quota.stopping.clear()
    is_over = "SELECT 1 FROM quota_groups WHERE name = 'east' AND NOT out_of_quota"
    while not out_of_quota.rows(is_over):  # a busy machine may be late for the next probe, too
        out_of_quota.run()


def test_a_block_that_was_moved_since_by_a_429_holds_when_a_probe_is_given_back(
    out_of_quota: Pipeline,
) -> None:
    probe = _probe(out_of_quota)
    out_of_quota.execute("UPDATE quota_groups SET blocked_until = blocked_until + interval '10 seconds'")
    out_of_quota.settlement.end([probe.job_id], JobStatus.FAILED, "cancelled")
    assert blocked_for(group(out_of_quota)) > 800


def test_a_probe_that_was_sent_is_not_followed_by_another_at_once(out_of_quota: Pipeline) -> None:
    fault(out_of_quota, status=400, code="content_policy_violation", message="no")
    probe = _probe(out_of_quota)
    out_of_quota.answer()
    assert out_of_quota.rows("SELECT state FROM attempts WHERE id = :id", id=probe.id) == [("REFUSED",)]
    assert blocked_for(group(out_of_quota)) > 800


@pytest.mark.parametrize(
    "answer",
    [
        {"headers": {"retry-after": "86400"}},
        {"code": "insufficient_quota", "message": "You exceeded your current quota"},
    ],
)
def test_out_of_quota_is_probed_with_one_call_every_quarter_of_an_hour(
    two: Pipeline, answer: dict[str, Any]
) -> None:
    fault(two, status=429, **answer)
    two.submit(5)
    two.dispatch.run_once()
    two.answer()
    found = group(two)
    assert found.out_of_quota
    assert pause_of(two) == pytest.approx(900, abs=0.05)
    complete(two, 5)
    before = calls_at(two, "east")
    two.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() WHERE name = 'east'")
    two.submit(5)
    complete(two, 10)
    assert calls_at(two, "east") == before + 1
    assert blocked_for(group(two)) > 800
    no_more_faults(two)
    two.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() WHERE name = 'east'")
    two.submit(5)
    complete(two, 15)
    assert not group(two).out_of_quota
    assert two.rows("SELECT max(failures) FROM jobs")[0][0] == 0
