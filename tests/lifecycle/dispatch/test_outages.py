"""Outages in virtual time: whatever is down for how long, no job ends while it could be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lifecycle.dispatch.virtual import TICK, Job, Service

ALWAYS = [(0.0, 1e9)]
SHORTEST_PATIENCE = 120.0
"""Seconds for which a job outlives an outage of everything, whatever the jitter."""


def named(count: int, **given: Any) -> dict[str, dict[str, Any]]:
    return {f"upstream-{number}": dict(given) for number in range(count)}


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_an_outage_of_all_deployments_is_outlived_for_two_minutes_however_many_there_are(
    count: int, seed: int
) -> None:
    deployments = named(count)
    service = Service(deployments, {name: [(0.0, SHORTEST_PATIENCE - 1)] for name in deployments}, seed)
    (job,) = service.submit(1)
    service.run(400)
    assert (job.error, job.ended_at is None) == (None, False)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_an_outage_that_lasts_ends_a_job_after_so_many_calls_to_each_deployment(count: int) -> None:
    deployments = named(count, max_attempts=3)
    service = Service(deployments, dict.fromkeys(deployments, ALWAYS))
    (job,) = service.submit(1)
    service.run(400)
    assert job.error is not None
    calls = [sum(name == called for _, called in service.log) for name in deployments]
    assert min(calls) >= 3
    assert max(calls) <= 4  # once more, where the last failure was a while ago when the last call was made


def test_a_failure_that_passes_costs_two_seconds_with_one_deployment_and_nothing_with_two() -> None:
    alone = Service(named(1), {"upstream-0": [(0.0, 0.4)]})
    (job,) = alone.submit(1)
    alone.run(10)
    assert [at for at, _ in alone.log] == pytest.approx([0, 2.4], abs=0.3)
    assert job.error is None
    two = Service(named(2), {"upstream-0": [(0.0, 0.4)]})
    two.submit(1)
    two.run(10)
    assert [at for at, _ in two.log] == pytest.approx([0, 0.5], abs=TICK)


def test_of_three_deployments_two_are_down_and_the_third_serves_every_job() -> None:
    service = Service(named(3), {"upstream-0": ALWAYS, "upstream-1": ALWAYS})
    for _ in range(5):
        (job,) = service.submit(1)
        service.run(service.now + 3)
        assert (job.error, job.ended_at is None) == (None, False)


def test_a_later_order_takes_over_at_once_from_one_that_fails() -> None:
    deployments = {"first": {"max_attempts": 3}, "second": {"order": 2, "max_attempts": 3}}
    service = Service(deployments, {"first": ALWAYS})
    (job,) = service.submit(1)
    service.run(3)
    assert job.error is None
    assert [name for _, name in service.log] == ["first", "second"]


SPANS = st.lists(
    st.tuples(st.floats(0, SHORTEST_PATIENCE - 1), st.floats(0.5, 60)).map(
        lambda span: (span[0], min(sum(span), SHORTEST_PATIENCE - 1))
    ),
    max_size=4,
)
ENTRIES = st.fixed_dictionaries(
    {}, optional={"order": st.integers(1, 2), "pace": st.booleans(), "cost_usd": st.sampled_from(["1", "2"])}
)
ARRIVALS = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 3)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ENTRIES, SPANS), min_size=1, max_size=4), ARRIVALS, st.integers())
def test_no_job_is_an_error_after_outages_of_less_than_two_minutes(
    upstreams: Sequence[tuple[dict[str, Any], list[tuple[float, float]]]],
    arrivals: Sequence[tuple[float, int]],
    seed: int,
) -> None:
    deployments = {f"upstream-{number}": entry for number, (entry, _) in enumerate(upstreams)}
    outages = {f"upstream-{number}": spans for number, (_, spans) in enumerate(upstreams)}
    service = Service(deployments, outages, seed)
    service.run(600, arrivals)
    assert [job.error for job in service.jobs] == [None] * sum(count for _, count in arrivals)
    assert not service.waiting()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ENTRIES, SPANS), max_size=3), ENTRIES, ARRIVALS, st.integers())
def test_one_deployment_that_works_serves_every_job_within_seconds(
    others: Sequence[tuple[dict[str, Any], list[tuple[float, float]]]],
    working: dict[str, Any],
    arrivals: Sequence[tuple[float, int]],
    seed: int,
) -> None:
    """A job may wait for an earlier order for 5 s, and once for each other one that fails it meanwhile."""
    deployments = {f"upstream-{number}": entry for number, (entry, _) in enumerate(others)}
    outages = {f"upstream-{number}": spans for number, (_, spans) in enumerate(others)}
    service = Service({**deployments, "works": working}, outages, seed)
    service.run(130, arrivals)
    assert [job.error for job in service.jobs] == [None] * sum(count for _, count in arrivals)
    assert all(waited(job) <= 12 for job in service.jobs)


def waited(job: Job) -> float:
    assert job.ended_at is not None
    return job.ended_at - job.submitted_at


LONG_SPANS = st.lists(st.tuples(st.floats(0, 60), st.floats(1, 300)), max_size=5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.fixed_dictionaries({"max_attempts": st.integers(1, 6)}), LONG_SPANS),
        min_size=1,
        max_size=3,
    ),
    ARRIVALS,
    st.integers(),
)
def test_no_job_ends_as_an_error_while_a_deployment_works_and_has_nothing_to_do(
    upstreams: Sequence[tuple[dict[str, Any], list[tuple[float, float]]]],
    arrivals: Sequence[tuple[float, int]],
    seed: int,
) -> None:
    """For longer than a few seconds; unless that deployment was asked once more than it may fail the job."""
    deployments = {f"upstream-{number}": entry for number, (entry, _) in enumerate(upstreams)}
    service = Service(deployments, _down(upstreams), seed)
    ended = list[Job]()
    for _ in range(int(700 / TICK)):
        service.run(
            service.now + TICK, [one for one in arrivals if service.now - TICK < one[0] <= service.now]
        )
        new = [job for job in service.jobs if job.error and job not in ended]
        ended += new
        for job in new:
            for name, upstream in service.upstreams.items():
                asked_once_more = job.failures.get(name, 0) > upstream.deployment.max_attempts
                assert asked_once_more or upstream.idle_for(service.now) <= 10, (job, name)


def _down(
    upstreams: Sequence[tuple[dict[str, Any], list[tuple[float, float]]]],
) -> Mapping[str, list[tuple[float, float]]]:
    """Each span is a time of working and a time of outage, one after the other."""
    found = dict[str, list[tuple[float, float]]]()
    for number, (_, spans) in enumerate(upstreams):
        now, down = 0.0, list[tuple[float, float]]()
        for works, fails in spans:
            down.append((now + works, now + works + fails))
            now += works + fails
        found[f"upstream-{number}"] = down
    return found
