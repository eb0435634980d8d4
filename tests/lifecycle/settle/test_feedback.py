"""A breaker's whole life: one trouble after the other, probes that find nobody, probes that never went."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from api.app import create_app
from imagequeue.domain.jobs import JobStatus
from imagequeue.store.attempts import quota
from tests import builders, fleet
from tests.lifecycle.conftest import TWO
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
        httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client,
    ):
        yield client


def shown(client: httpx.Client, name: str = "east") -> dict[str, Any]:
    data = client.get("/v2/deployments").raise_for_status().json()["data"]
    return next(one for one in data if one["name"] == name)


def trouble(of: Pipeline, **fault: Any) -> None:
    httpx.delete(f"{of.simulator.url}/_sim/faults", trust_env=False).raise_for_status()
    if fault:
        of.fault(**{"kind": "status", "match": {"upstream": "east"}, **fault})


def let_a_probe_go(of: Pipeline) -> None:
    of.execute("UPDATE deployment_states SET blocked_until = clock_timestamp()")


def rest(of: Pipeline) -> float:
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
        assert 15 <= rest(two) < 31
        for fault, misconfigured, failures in (
            ({"status": 401}, True, 1),
            ({"kind": "hang"}, True, 2),
            ({"status": 500}, True, 3),
        ):
            trouble(two, **fault)
            let_a_probe_go(two)
            assert shown(client)["breaker"] == "half-open"
            try_with(two, 1)
            known = shown(client)
            assert (known["breaker"], known["misconfigured"]) == ("open", misconfigured), fault
            assert known["failures_in_a_row"] == failures
            assert 30 * 2 ** (failures - 1) <= rest(two) < 60 * 2 ** (failures - 1) + 1
            _goes_to_the_other_one(two, 3)
        trouble(two)
        let_a_probe_go(two)
        try_with(two, 1)
        assert shown(client)["breaker"] == "closed"
        try_with(two, 6)
    assert two.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]
    assert two.rows("SELECT max(failures) FROM jobs")[0][0] == 1  # no job met the broken one twice
    assert two.rows("SELECT DISTINCT state FROM attempts WHERE deployment = 'west'") == [("SUCCEEDED",)]


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
                assert 15 * 2**probe <= rest(lonely) < 30 * 2**probe + 1
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
    assert 15 <= rest(two) < 31


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


def blocked_for(of: Pipeline) -> float:
    with of.runtime.engine.begin() as connection:
        state = quota.lock_group(connection, "east").state
    return (state.blocked_until or 0.0) - state.now


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
    assert blocked_for(of) > 800
    return row


def test_a_cancelled_probe_of_a_used_up_quota_does_not_cost_a_quarter_of_an_hour(
    out_of_quota: Pipeline,
) -> None:
    probe = _probe(out_of_quota)
    out_of_quota.settlement.end([probe.job_id], JobStatus.FAILED, "cancelled")
    assert blocked_for(out_of_quota) <= 0


def test_a_probe_that_is_given_back_does_not_either(out_of_quota: Pipeline) -> None:
    _probe(out_of_quota)
    out_of_quota.stopping.set()
    out_of_quota.answer()
    assert blocked_for(out_of_quota) <= 0
    out_of_quota.stopping.clear()
    out_of_quota.run()
    assert out_of_quota.rows("SELECT out_of_quota FROM quota_groups WHERE name = 'east'") == [(False,)]


def test_a_block_that_was_moved_since_by_a_429_holds_when_a_probe_is_given_back(
    out_of_quota: Pipeline,
) -> None:
    probe = _probe(out_of_quota)
    out_of_quota.execute("UPDATE quota_groups SET blocked_until = blocked_until + interval '10 seconds'")
    out_of_quota.settlement.end([probe.job_id], JobStatus.FAILED, "cancelled")
    assert blocked_for(out_of_quota) > 800


def test_a_probe_that_was_sent_has_used_its_turn(out_of_quota: Pipeline) -> None:
    trouble(out_of_quota, status=400, code="content_policy_violation", message="no")
    probe = _probe(out_of_quota)
    out_of_quota.answer()
    assert out_of_quota.rows("SELECT state FROM attempts WHERE id = :id", id=probe.id) == [("REFUSED",)]
    assert blocked_for(out_of_quota) > 800
