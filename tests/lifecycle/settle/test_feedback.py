"""The breaker of a deployment: what opens it, whom it lets through, what closes it."""

from __future__ import annotations

import socket
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from api.app import create_app
from imagequeue.domain.jobs import JobStatus
from imagequeue.store.attempts import deployments
from imagequeue.store.attempts.deployments import DeploymentState
from tests import builders, fleet
from tests.lifecycle.conftest import TWO
from tests.lifecycle.two_deployments import calls_at, complete, fault, no_more_faults
from tests.loopback import NO_TLS
from tests.pipeline import Pipeline
from tests.servers import ServerThread

pytestmark = pytest.mark.long


@contextmanager
def operator(of: Pipeline) -> Generator[httpx.Client]:
    """An operator's client of the API over the same database."""
    _, issued = builders.account(of.runtime.engine, "operator", operator=True)
    headers = {"Ocp-Apim-Subscription-Key": issued.key}
    with (
        ServerThread(create_app(of.runtime)) as server,
        httpx.Client(base_url=server.url, headers=headers, trust_env=False, verify=NO_TLS) as client,
    ):
        yield client


def shown(client: httpx.Client, name: str = "east") -> dict[str, Any]:
    data = client.get("/v2/deployments").raise_for_status().json()["data"]
    return next(one for one in data if one["name"] == name)


def trouble(of: Pipeline, **changes: Any) -> None:
    """Let the broken one fail in another way, or in no way."""
    no_more_faults(of)
    if changes:
        fault(of, **changes)


def let_a_probe_go(of: Pipeline) -> None:
    of.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")


def cooldown(of: Pipeline) -> float:
    """Seconds between the opening of the breaker and its next probe."""
    (row,) = of.rows("SELECT extract(epoch FROM blocked_until - opened_at)::float8 FROM deployment_states")
    return row[0]


def east_attempts(of: Pipeline) -> int:
    return of.rows("SELECT count(*) FROM attempts WHERE deployment = 'east'")[0][0]


def try_with(of: Pipeline, jobs: int) -> None:
    """Give the broken one so many calls, and let the other one serve what it failed."""
    before, called = len(of.final), east_attempts(of)
    of.submit(jobs)
    of.run()
    assert east_attempts(of) == called + jobs
    assert len(of.final) == before + jobs


def test_one_trouble_after_the_other_keeps_it_out_until_a_probe_succeeds(two: Pipeline) -> None:
    with operator(two) as client:
        trouble(two, status=500)
        try_with(two, 5)
        known = shown(client)
        assert (known["breaker"], known["misconfigured"], known["failures_in_a_row"]) == ("open", False, 5)
        assert 15 <= cooldown(two) < 31
        for answer, misconfigured, failures in (
            ({"status": 401}, True, 1),
            ({"kind": "hang"}, True, 2),
            ({"status": 500}, True, 3),
        ):
            trouble(two, **answer)
            let_a_probe_go(two)
            assert shown(client)["breaker"] == "half-open"
            try_with(two, 1)
            known = shown(client)
            assert (known["breaker"], known["misconfigured"]) == ("open", misconfigured), answer
            assert known["failures_in_a_row"] == failures
            assert 30 * 2 ** (failures - 1) <= cooldown(two) < 60 * 2 ** (failures - 1) + 1
            _goes_to_the_other_one(two, 3)
        trouble(two)
        let_a_probe_go(two)
        try_with(two, 1)
        assert shown(client)["breaker"] == "closed"
        try_with(two, 6)
    assert two.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]
    met = two.rows("""
        SELECT count(*) AS times FROM attempts
        WHERE deployment = 'east' AND state <> 'GIVEN_BACK' GROUP BY job_id
    """)
    assert {row.times for row in met} == {1}  # none met the broken one twice
    made = "SELECT DISTINCT state FROM attempts WHERE deployment = 'west' AND state <> 'GIVEN_BACK'"
    assert two.rows(made) == [("SUCCEEDED",)]


def _goes_to_the_other_one(of: Pipeline, jobs: int) -> None:
    called = east_attempts(of)
    of.submit(jobs)
    of.run()
    assert east_attempts(of) == called


def test_where_nobody_listens_probes_come_less_and_less_often(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and never listens: connections are refused
        closed = f"http://127.0.0.1:{bound.getsockname()[1]}"
        given = TWO | {"east": TWO["east"] | {"endpoint": closed}}
        with fleet.pipeline(engine, database_url, tmp_path, given) as lonely, operator(lonely) as client:
            try_with(lonely, 5)
            for probe in range(3):
                known = shown(client)
                assert (known["breaker"], known["failures_in_a_row"]) == ("open", 5 + probe)
                assert 15 * 2**probe <= cooldown(lonely) < 30 * 2**probe + 1
                let_a_probe_go(lonely)
                try_with(lonely, 1)
        assert lonely.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]


def test_what_was_released_before_it_opened_is_the_same_outage_although_it_was_called_later(
    two: Pipeline,
) -> None:
    trouble(two, status=500)
    two.submit(7)
    two.dispatch.run_once()
    two.answer()
    assert two.rows("SELECT failures FROM deployment_states") == [(5,)]
    assert 15 <= cooldown(two) < 31


@pytest.fixture
def half_open(two: Pipeline) -> Pipeline:
    """East may be tried by one call."""
    two.execute("""
        INSERT INTO deployment_states (name, failures, opened_at, blocked_until)
        VALUES ('east', 5, clock_timestamp() - interval '1 minute', clock_timestamp())
    """)
    return two


def test_a_probe_whose_job_is_cancelled_lets_another_one_go(half_open: Pipeline) -> None:
    with operator(half_open) as client:
        half_open.beat()
        (job_id,) = half_open.submit(1)
        half_open.dispatch.run_once()
        assert shown(client)["breaker"] == "open"
        half_open.settlement.end([job_id], JobStatus.FAILED, "cancelled")
        assert half_open.states(job_id) == ["GIVEN_BACK"]
        assert shown(client)["breaker"] == "half-open"
        try_with(half_open, 1)
        assert shown(client)["breaker"] == "closed"


def state(of: Pipeline, name: str = "east") -> DeploymentState | None:
    with of.runtime.engine.connect() as connection:
        return deployments.read_states(connection).get(name)


def test_one_of_two_answers_500_then_401_then_hangs_and_no_job_fails(two: Pipeline) -> None:
    submitted = 0
    with fleet.Crew(two, dispatchers=2, workers=6) as crew:
        for answer in ({"status": 500}, {"status": 401}, {"kind": "hang"}):
            no_more_faults(two)
            fault(two, **answer)
            two.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")
            submitted += len(two.submit(12))
            crew.await_final(submitted)
            known = state(two)
            assert known is not None
            assert known.reason
    assert two.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]
    met = two.rows("""
        SELECT count(*) AS times FROM attempts
        WHERE deployment = 'east' AND state <> 'GIVEN_BACK' GROUP BY job_id
    """)
    assert {row.times for row in met} == {1}  # none met the broken one twice
    made = "SELECT DISTINCT state FROM attempts WHERE deployment = 'west' AND state <> 'GIVEN_BACK'"
    assert two.rows(made) == [("SUCCEEDED",)]


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
    assert calls_at(two, "east") == 5

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
    assert calls_at(two, "east") == 16
    known = state(two)
    assert known is not None
    assert known.failures == 5  # the other calls began before it opened
    assert known.blocked_for <= 30


def test_calls_that_a_pass_grants_while_the_breaker_opens_make_it_wait_no_longer(two: Pipeline) -> None:
    """The pass had read that the breaker was closed, so none of them is a probe."""
    fault(two, status=500)
    two.submit(3)
    two.dispatch.run_once()
    two.execute("""
        INSERT INTO deployment_states (name, failures, opened_at, blocked_until)
        SELECT 'east', 5, min(created_at), clock_timestamp() + interval '20 seconds'
        FROM attempts WHERE deployment = 'east'
    """)
    two.answer()
    known = state(two)
    assert known is not None
    assert known.failures == 5
    assert known.blocked_for <= 20


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
