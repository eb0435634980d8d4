"""A job that a deployment failed prefers another one: for a while, and only one that can take it."""

from __future__ import annotations

import pytest

from tests.lifecycle.two_deployments import fault
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long


def fail_at_east(of: Pipeline, back_off_ended: str) -> None:
    """A job fails once, at the deployment that is asked first; its back-off ended so long ago."""
    fault(of, status=500, count=1)
    of.submit(1)
    of.dispatch.run_once()
    of.answer()
    of.execute("UPDATE jobs SET not_before = clock_timestamp() - CAST(:ago AS interval)", ago=back_off_ended)


def deployments_asked(of: Pipeline) -> list[str]:
    return [row.deployment for row in of.rows("SELECT deployment FROM attempts ORDER BY id")]


@pytest.mark.parametrize(
    "out",
    [
        "out_of_quota = true, blocked_until = clock_timestamp() + interval '4 s'",
        "blocked_until = clock_timestamp() + interval '1 min'",
        "rpm = 2, effective_rpm = 2, pace = true, last_slot_at = clock_timestamp()",
    ],
    ids=["out of quota", "blocked", "paced"],
)
def test_a_job_does_not_wait_for_another_deployment_that_cannot_take_it(two: Pipeline, out: str) -> None:
    two.execute(f"UPDATE quota_groups SET {out} WHERE name = 'west'")  # noqa: S608  # ours
    fail_at_east(two, back_off_ended="0 s")
    assert two.dispatch.run_once() == 1
    assert deployments_asked(two) == ["east", "east"]


def test_a_job_prefers_another_deployment_for_a_while(two: Pipeline) -> None:
    fail_at_east(two, back_off_ended="0 s")
    assert two.dispatch.run_once() == 1
    assert deployments_asked(two) == ["east", "west"]


def test_a_job_that_no_other_deployment_took_in_time_comes_back(two: Pipeline) -> None:
    fail_at_east(two, back_off_ended="6 s")
    assert two.dispatch.run_once() == 1
    assert deployments_asked(two) == ["east", "east"]
