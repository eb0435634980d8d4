"""A job goes from the deployments that failed it to the others, and comes back after its own back-offs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests import fleet
from tests.lifecycle.two_deployments import fault, no_more_faults
from tests.pipeline import Pipeline, RunningPipeline
from tests.upstreams import COSTS, catalog_of, upstreams

pytestmark = pytest.mark.long


def fail_at_east(of: Pipeline, back_off_ended: str) -> None:
    """A job fails once, at the deployment that is asked first; its back-off ended so long ago."""
    fault(of, status=500, count=1)
    of.submit(1)
    of.dispatch.run_once()
    of.answer()
    over = "UPDATE job_failures SET not_before = clock_timestamp() - CAST(:ago AS interval)"
    of.execute(over, ago=back_off_ended)


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


def test_a_job_that_another_deployment_could_take_soon_waits_five_seconds_for_it_and_no_longer(
    two: Pipeline,
) -> None:
    soon = "UPDATE quota_groups SET blocked_until = clock_timestamp() + interval '3 s' WHERE name = 'west'"
    two.execute(soon)
    fail_at_east(two, back_off_ended="0 s")
    assert two.dispatch.run_once() == 0
    two.execute("UPDATE job_failures SET not_before = clock_timestamp() - interval '6 s'")
    two.execute(soon)
    assert two.dispatch.run_once() == 1
    assert deployments_asked(two) == ["east", "east"]


THREE: dict[str, dict[str, Any]] = {
    name: {"rpm": 1000, "window_seconds": 60, "pace": False} for name in ("a", "b", "c")
}


@pytest.fixture
def three(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Three equal deployments."""
    with fleet.pipeline(engine, database_url, tmp_path, THREE) as made:
        yield made


def down(of: Pipeline, *names: str) -> None:
    for name in names:
        of.fault(kind="status", match={"upstream": name}, status=503)


def test_of_three_deployments_two_are_down_and_the_first_job_is_served_by_the_third(three: Pipeline) -> None:
    down(three, "a", "b")
    for number in range(5):
        three.execute("DELETE FROM deployment_states")
        (job_id,) = three.submit(1)
        three.run()
        assert three.status(job_id) == "COMPLETED", number
        assert three.states(job_id)[-1] == "SUCCEEDED"
        assert len(three.states(job_id)) <= 3
    assert three.rows("SELECT count(*) FROM job_failures") == [(0,)]


def test_a_lone_job_goes_from_the_deployment_that_failed_it_to_the_free_one_at_once(two: Pipeline) -> None:
    down(two, "east")
    (job_id,) = two.submit(1)
    assert two.dispatch.run_once() == 1
    two.answer()
    assert two.dispatch.run_once() == 1
    two.answer()
    assert two.states(job_id) == ["UNAVAILABLE", "SUCCEEDED"]


def test_a_job_comes_back_to_no_deployment_before_its_own_back_off_is_over(two: Pipeline) -> None:
    down(two, "east", "west")
    (job_id,) = two.submit(1)
    two.run()
    assert deployments_asked(two) == ["east", "west"]
    rows = two.rows(
        """
        SELECT deployment, failures, extract(epoch FROM not_before - failed_at)::float8 AS seconds
        FROM job_failures WHERE job_id = :id ORDER BY deployment
    """,
        id=job_id,
    )
    assert [(row.deployment, row.failures) for row in rows] == [("east", 1), ("west", 1)]
    assert all(1.5 <= row.seconds <= 2 for row in rows)
    assert two.rows("SELECT failures FROM jobs") == [(1,)]  # one round


def test_a_later_order_takes_over_at_once_from_one_that_fails(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {
        "first": {"rpm": 1000, "pace": False, "max_attempts": 3},
        "spare": {"rpm": 1000, "pace": False, "max_attempts": 3, "order": 2, "spill_after_seconds": 60},
    }
    with fleet.pipeline(engine, database_url, tmp_path, given) as ordered:
        down(ordered, "first")
        (job_id,) = ordered.submit(1)
        ordered.run()
        assert ordered.states(job_id) == ["UNAVAILABLE", "SUCCEEDED"]


def test_an_outage_of_all_upstreams_for_some_seconds_makes_no_job_an_error(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """Two rounds fail. The test does not wait for the back-offs and the pauses of the breakers."""
    with RunningPipeline(
        engine, database_url, tmp_path, upstreams=upstreams(), catalog=catalog_of(*COSTS)
    ) as pipeline:
        down(pipeline, *COSTS)
        jobs = pipeline.submit(40)
        for _ in range(2):
            pipeline.run()
            pipeline.execute("UPDATE job_failures SET not_before = clock_timestamp()")
            pipeline.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")
        assert not pipeline.final
        no_more_faults(pipeline)
        while len(pipeline.final) < len(jobs):
            pipeline.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")
            pipeline.execute("UPDATE job_failures SET not_before = clock_timestamp()")
            pipeline.run()
            pipeline.poll()
        assert pipeline.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]


@pytest.mark.parametrize("status", [500, 401])
def test_the_job_that_opened_a_breaker_is_not_the_probe_while_another_one_waits(
    two: Pipeline, status: int
) -> None:
    two.execute("UPDATE quota_groups SET blocked_until = 'infinity' WHERE name = 'west'")
    fault(two, status=status)
    (opener,) = two.submit(1)
    assert two.dispatch.run_once() == 1
    two.answer()
    two.execute("""
        UPDATE deployment_states SET failures = 5, blocked_until = clock_timestamp(),
            opened_at = clock_timestamp()
    """)
    two.execute("UPDATE job_failures SET not_before = clock_timestamp() - interval '1 minute'")
    no_more_faults(two)
    (other,) = two.submit(1)
    assert two.dispatch.run_once() == 1
    assert two.rows("SELECT job_id FROM attempts WHERE state = 'RELEASED'") == [(other,)]
    two.answer()
    two.run()
    assert [two.status(job_id) for job_id in (opener, other)] == ["COMPLETED", "COMPLETED"]


def test_a_job_that_waits_for_nobody_else_is_the_probe_of_the_breaker_that_it_opened(two: Pipeline) -> None:
    two.execute("UPDATE quota_groups SET blocked_until = 'infinity' WHERE name = 'west'")
    fault(two, status=401, count=1)
    (job_id,) = two.submit(1)
    two.run()
    two.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")
    two.run()
    assert two.states(job_id) == ["MISCONFIGURED", "SUCCEEDED"]
