"""What upstreams say back, and how the others carry on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from imagequeue.store.attempts import deployments, quota
from imagequeue.store.attempts.deployments import DeploymentState
from imagequeue.store.attempts.quota import Group
from tests import fleet
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long


def group(of: Pipeline, name: str = "east") -> Group:
    with of.runtime.engine.begin() as connection:
        return quota.lock_group(connection, name)


def state(of: Pipeline, name: str = "east") -> DeploymentState | None:
    with of.runtime.engine.connect() as connection:
        return deployments.read_states(connection).get(name)


def blocked_for(found: Group) -> float:
    return (found.state.blocked_until or 0.0) - found.state.now


def calls(of: Pipeline, name: str) -> int:
    report = fleet.quotas(of.simulator.url)[name]
    return report["admitted"] + report["throttled"]


def fault(of: Pipeline, **changes: Any) -> None:
    of.fault(**{"kind": "status", "match": {"upstream": "east"}, **changes})


def no_more_faults(of: Pipeline) -> None:
    httpx.delete(f"{of.simulator.url}/_sim/faults", trust_env=False).raise_for_status()


def complete(of: Pipeline, count: int) -> None:
    """Dispatch and answer until so many jobs are completed; back-offs pass at once."""
    deadline = time.monotonic() + fleet.PATIENCE
    while len(of.rows("SELECT 1 FROM jobs WHERE status = 'COMPLETED'")) < count:
        assert time.monotonic() < deadline, of.rows("SELECT state, deployment, reason FROM attempts")
        of.dispatch.run_once()
        of.answer()


def test_one_of_two_answers_500_then_401_then_hangs_and_no_job_fails(two: Pipeline) -> None:
    submitted = 0
    with fleet.Crew(two, dispatchers=2, workers=6) as crew:
        for trouble in ({"status": 500}, {"status": 401}, {"kind": "hang"}):
            no_more_faults(two)
            fault(two, **trouble)
            two.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")
            submitted += len(two.submit(12))
            crew.await_final(submitted)
            known = state(two)
            assert known is not None
            assert known.reason
    assert two.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]
    assert two.rows("SELECT max(failures) FROM jobs")[0][0] == 1  # no job met the broken one twice
    assert two.rows("SELECT DISTINCT state FROM attempts WHERE deployment = 'west'") == [("SUCCEEDED",)]


def test_five_failures_in_a_row_open_the_breaker_and_a_probe_closes_it(two: Pipeline) -> None:
    fault(two, status=500)
    two.submit(5)
    two.dispatch.run_once()
    two.answer()
    known = state(two)
    assert known is not None
    assert (known.failures, known.breaker) == (5, "open")
    assert 15 <= known.blocked_for <= 30
    two.submit(3)
    complete(two, 8)
    assert calls(two, "east") == 5

    no_more_faults(two)
    two.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")
    known = state(two)
    assert known is not None
    assert known.breaker == "half-open"
    two.submit(3)
    two.dispatch.run_once()
    assert len(two.rows("SELECT 1 FROM attempts WHERE deployment = 'east' AND state = 'RELEASED'")) == 1
    two.answer()
    assert state(two) is None


def test_while_a_probe_is_on_its_way_nobody_else_tries(two: Pipeline) -> None:
    two.execute("""
        INSERT INTO deployment_states (name, failures, opened_at, blocked_until)
        VALUES ('east', 5, clock_timestamp() - interval '1 minute', clock_timestamp())
    """)
    two.submit(4)
    two.dispatch.run_once()
    known = state(two)
    assert known is not None
    assert known.breaker == "open"
    assert known.blocked_for > 20
    two.submit(4)
    two.dispatch.run_once()
    assert len(two.rows("SELECT 1 FROM attempts WHERE deployment = 'east'")) == 1


def test_failures_of_one_outage_make_the_breaker_wait_no_longer(two: Pipeline) -> None:
    fault(two, kind="hang")
    two.submit(16)
    two.dispatch.run_once()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(two.generation.run, [doorbell.attempt_id for doorbell in two.rung]))
    assert calls(two, "east") == 16
    known = state(two)
    assert known is not None
    assert known.failures == 5  # the other calls began before it opened
    assert known.blocked_for <= 30


def test_a_bad_key_takes_the_deployment_out_at_once_and_its_jobs_lose_nothing(two: Pipeline) -> None:
    fault(two, status=401, code="401", message="Access denied due to invalid subscription key")
    two.submit(1)
    two.dispatch.run_once()
    two.answer()
    known = state(two)
    assert known is not None
    assert (known.misconfigured, known.breaker) == (True, "open")
    assert known.reason
    complete(two, 1)
    assert two.rows("SELECT failures FROM jobs")[0].failures == 0
    no_more_faults(two)
    two.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")
    two.submit(1)
    complete(two, 2)
    assert state(two) is None


def test_ten_different_prompts_refused_in_a_row_are_the_deployments_fault(two: Pipeline) -> None:
    fault(two, status=400, code="bad_request", message="Unknown field: model")
    two.execute("UPDATE quota_groups SET blocked_until = 'infinity' WHERE name = 'west'")
    for number in range(9):
        two.submit(1, prompt=f"prompt {number}")
        two.submit(1, prompt="always the same")
        known = state(two)
        assert known is None or not known.misconfigured
        two.dispatch.run_once()
        two.answer()
    known = state(two)  # nine prompts, and the one that came again and again
    assert known is not None
    assert (known.misconfigured, known.breaker) == (True, "open")


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


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 6, 7),
        ({"retry-after": "3", "x-ms-retry-after-ms": "9000"}, 8, 9),
        ({"retry-after-ms": "100"}, 0, 0.5),
        ({}, 0, 1),
    ],
)
def test_a_429_moves_its_job_on_and_costs_it_nothing(
    two: Pipeline, headers: dict[str, str], low: float, high: float
) -> None:
    fault(two, status=429, headers=headers)
    (job_id,) = two.submit(1)
    two.dispatch.run_once()
    two.answer()
    assert low <= blocked_for(group(two)) <= high
    complete(two, 1)
    assert two.states(job_id)[0] == "THROTTLED"
    assert two.rows("SELECT failures FROM jobs")[0].failures == 0


def test_429s_without_a_hint_double_the_rest_and_a_success_ends_the_row(two: Pipeline) -> None:
    fault(two, status=429, count=3)
    two.execute("UPDATE quota_groups SET blocked_until = 'infinity' WHERE name = 'west'")
    two.submit(1)
    for seconds in (1, 2, 4):
        two.dispatch.run_once()
        two.answer()
        assert blocked_for(group(two)) == pytest.approx(seconds, abs=0.5)
        two.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() WHERE name = 'east'")
    complete(two, 1)
    assert group(two).throttled_in_a_row == 0


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
    assert blocked_for(found) == pytest.approx(900, abs=5)
    complete(two, 5)
    before = calls(two, "east")
    two.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() WHERE name = 'east'")
    two.submit(5)
    complete(two, 10)
    assert calls(two, "east") == before + 1
    assert blocked_for(group(two)) == pytest.approx(900, abs=5)
    no_more_faults(two)
    two.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() WHERE name = 'east'")
    two.submit(5)
    complete(two, 15)
    assert not group(two).out_of_quota
    assert two.rows("SELECT max(failures) FROM jobs")[0][0] == 0


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
        httpx.post(f"{shared.simulator.url}/_sim/foreign", json=request, trust_env=False).raise_for_status()
        jobs = shared.submit(60)
        with fleet.Crew(shared, dispatchers=1, workers=6) as crew:
            crew.await_final(len(jobs))
        found = group(shared)
        report = fleet.quotas(shared.simulator.url)["east"]
        assert report["maximum_in_window"] <= 10
        assert report["foreign_admitted"] > 0
        assert 0 < found.drifts <= found.throttled == report["throttled"]  # an echo is no drift
        assert shared.rows("SELECT DISTINCT status, failures FROM jobs") == [("COMPLETED", 0)]


def test_a_later_order_takes_only_what_the_earlier_one_cannot_start_in_time(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {
        "first": {"rpm": 3, "window_seconds": 60, "pace": False, "order": 1},
        "spare": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 2},
    }
    with fleet.pipeline(engine, database_url, tmp_path, given) as ordered:
        ordered.submit(3)
        complete(ordered, 3)
        assert (calls(ordered, "first"), calls(ordered, "spare")) == (3, 0)
        ordered.submit(5)  # the next token of the first returns in a minute, not in five seconds
        complete(ordered, 8)
        assert (calls(ordered, "first"), calls(ordered, "spare")) == (3, 5)


def test_a_later_order_waits_where_the_earlier_one_starts_soon_enough(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {
        "first": {"rpm": 60, "window_seconds": 60, "order": 1},  # one a second
        "spare": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 2, "spill_after_seconds": 5},
    }
    with fleet.pipeline(engine, database_url, tmp_path, given) as ordered:
        ordered.submit(20)
        ordered.dispatch.run_once()
        rows = ordered.rows("SELECT deployment, count(*) FROM attempts GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in rows] == [("first", 1), ("spare", 14)]


def test_a_later_order_takes_over_when_the_earlier_one_is_out(two: Pipeline) -> None:
    two.execute("""
        INSERT INTO deployment_states (name, failures, opened_at, blocked_until)
        VALUES ('east', 5, clock_timestamp(), clock_timestamp() + interval '1 minute')
    """)
    two.submit(3)
    complete(two, 3)
    assert calls(two, "east") == 0


def test_a_later_order_carries_on_at_once_when_the_earlier_one_hangs_on_all_its_calls(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {
        "first": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 1, "max_in_flight": 2},
        "spare": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 2},
    }
    with fleet.pipeline(engine, database_url, tmp_path, given) as ordered:
        ordered.submit(6)
        ordered.dispatch.run_once()  # and the calls of the first are not answered
        rows = ordered.rows("SELECT deployment, count(*) FROM attempts GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in rows] == [("first", 2), ("spare", 4)]
        ordered.submit(3)
        ordered.dispatch.run_once()
        rows = ordered.rows("SELECT deployment, count(*) FROM attempts GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in rows] == [("first", 2), ("spare", 7)]
