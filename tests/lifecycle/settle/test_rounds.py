"""When a job ends because no deployment is left, and for what it waits instead."""

from __future__ import annotations

import pytest

from tests.pipeline import Pipeline


def fail(of: Pipeline, *names: str) -> None:
    for name in names:
        of.fault(kind="status", match={"upstream": name}, status=500)


def trouble_passes(of: Pipeline) -> None:
    """Back-offs end, and no breaker is open."""
    of.execute("UPDATE job_failures SET not_before = clock_timestamp() - interval '1 minute'")
    of.execute("DELETE FROM deployment_states WHERE name = 'east'")


def keep_out(of: Pipeline, name: str) -> None:
    of.execute(
        """
        INSERT INTO deployment_states (name, failures, misconfigured, opened_at, blocked_until)
        VALUES (:name, 1, true, clock_timestamp(), clock_timestamp() + interval '10 minutes')
    """,
        name=name,
    )


def fail_at_east(of: Pipeline, times: int) -> None:
    for _ in range(times):
        trouble_passes(of)
        of.run()


def test_a_job_fails_as_often_as_each_deployment_may_fail_it(two: Pipeline) -> None:
    fail(two, "east", "west")
    (job_id,) = two.submit(1)
    for rounds in range(6):
        assert two.rows("SELECT status, failures FROM jobs") == [
            ("PROCESSING" if rounds else "QUEUED", rounds)
        ]
        two.execute("DELETE FROM deployment_states")
        two.execute("UPDATE job_failures SET not_before = clock_timestamp()")
        two.run()
    assert two.status(job_id) == "ERROR"
    assert len(two.states(job_id)) == 12
    assert two.rows("SELECT count(*) FROM job_failures") == [(0,)]
    (row,) = two.rows("SELECT error FROM job_results")
    assert row.error == "The image service could not serve the job in 12 attempts"


def test_before_it_ends_a_deployment_that_failed_it_a_while_ago_is_asked_once_more(two: Pipeline) -> None:
    fail(two, "east", "west")
    (job_id,) = two.submit(1)
    two.run()
    two.execute("DELETE FROM deployment_states")
    two.execute("""
        UPDATE job_failures SET failures = CASE deployment WHEN 'east' THEN 6 ELSE 5 END,
            failed_at = failed_at - interval '1 minute',
            not_before = clock_timestamp() + CASE deployment WHEN 'east' THEN interval '50 s' ELSE '0' END
    """)
    two.heal()
    fail(two, "west")
    two.run()
    asked = two.rows("SELECT deployment FROM attempts ORDER BY id")
    assert [row.deployment for row in asked] == ["east", "west", "west", "east"]
    assert two.status(job_id) == "COMPLETED"


def test_a_job_waits_for_a_deployment_that_is_out_while_nobody_else_is_served_either(two: Pipeline) -> None:
    keep_out(two, "west")
    fail(two, "east")
    (job_id,) = two.submit(1)
    fail_at_east(two, 7)
    assert (two.status(job_id), len(two.states(job_id))) == ("PROCESSING", 6)
    two.sweep.run_once()
    assert two.status(job_id) == "PROCESSING"
    two.execute("DELETE FROM deployment_states")
    two.run()
    assert two.status(job_id) == "COMPLETED"


@pytest.mark.parametrize("out", ["its breaker is open", "its quota is used up"])
def test_a_job_that_fails_where_others_are_served_does_not_wait_for_a_deployment_that_is_out(
    two: Pipeline, out: str
) -> None:
    if out == "its breaker is open":
        keep_out(two, "west")
    else:
        two.execute("""
            UPDATE quota_groups SET out_of_quota = true, blocked_until = clock_timestamp() + interval '1 hour'
            WHERE name = 'west'
        """)
    two.fault(kind="status", match={"upstream": "east", "prompt_contains": "poison"}, status=500)
    (job_id,) = two.submit(1, prompt="poison")
    fail_at_east(two, 3)
    two.submit(1)
    fail_at_east(two, 2)
    assert two.status(job_id) == "PROCESSING"
    fail_at_east(two, 1)
    assert (two.status(job_id), len(two.states(job_id))) == ("ERROR", 6)


def test_a_deployment_that_is_out_keeps_no_job_alive_when_it_goes_out_after_the_last_failure(
    two: Pipeline,
) -> None:
    two.execute("UPDATE quota_groups SET blocked_until = 'infinity' WHERE name = 'west'")
    two.fault(kind="status", match={"upstream": "east", "prompt_contains": "poison"}, status=500)
    (job_id,) = two.submit(1, prompt="poison")
    fail_at_east(two, 1)
    two.submit(1)
    fail_at_east(two, 5)
    assert two.sweep.end_used_up() == 0  # the other one may yet serve it
    keep_out(two, "west")
    assert two.sweep.end_used_up() == 1
    assert two.status(job_id) == "ERROR"
    assert two.final[-1] == job_id


def test_a_job_with_an_open_attempt_is_not_ended_by_the_sweep(two: Pipeline) -> None:
    (job_id,) = two.submit(1, image_count=2)
    fail(two, "east")
    two.dispatch.run_once()
    two.generation.run(two.rung.pop(0).attempt_id)
    two.execute("UPDATE job_failures SET failures = 99")
    two.execute(
        "INSERT INTO job_failures (job_id, deployment, failures, not_before) "
        "SELECT id, 'west', 99, clock_timestamp() FROM jobs"
    )
    assert two.sweep.end_used_up() == 0
    assert two.status(job_id) == "PROCESSING"
    two.execute(
        "UPDATE attempts SET state = 'GIVEN_BACK', finished_at = clock_timestamp() WHERE state = 'RELEASED'"
    )
    assert two.sweep.end_used_up() == 1
