"""Positions and times of waiting jobs."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from imagequeue.domain.forecast import UNKNOWN, Estimate, FlowSample, Forecast, forecast
from imagequeue.domain.jobs import Lane
from imagequeue.domain.service_rate import ServiceRate, Starts, WorkerSlots

MANY = WorkerSlots([0.0] * 1000, 0.1)
STEADY = ServiceRate.of([Starts([0, 10, 20], 0.1)], MANY, latency=2)
NOBODY = ServiceRate.of([], WorkerSlots([], 1), latency=1)


def sample(
    flow_id: int, count: int, account: int = 1, lane: Lane = Lane.INTERACTIVE, weight: int = 1
) -> FlowSample:
    ids = [UUID(int=1000 * flow_id + number) for number in range(count)]
    return FlowSample(flow_id, UUID(int=account), lane, weight, ids, list(range(1, count + 1)))


def forecast_of(samples: Sequence[FlowSample], service: ServiceRate = STEADY) -> Forecast:
    ids = frozenset(one.flow_id for one in samples)
    return forecast(samples, dict.fromkeys(ids, service), dict.fromkeys(ids, ids))


def position(of: Forecast, flow_id: int, number: int) -> int:
    found = of.estimate(flow_id, UUID(int=1000 * flow_id + number), 0)
    assert found.position is not None
    return found.position


def eta(of: Forecast, flow_id: int, number: int, age: float = 0) -> float | None:
    return of.estimate(flow_id, UUID(int=1000 * flow_id + number), age).eta_seconds


def test_a_lone_flow_is_served_in_order() -> None:
    alone = forecast_of([sample(1, 5)])
    assert [position(alone, 1, number) for number in range(5)] == [1, 2, 3, 4, 5]
    assert [eta(alone, 1, number) for number in range(5)] == [2, 12, 22, 32, 42]


def test_an_estimate_runs_down_with_its_age_and_never_below_nothing() -> None:
    alone = forecast_of([sample(1, 5)])
    assert eta(alone, 1, 1, age=5) == 7
    assert eta(alone, 1, 0, age=60) == 0


def test_accounts_take_turns_while_they_have_jobs() -> None:
    shared = forecast_of([sample(1, 10, account=1), sample(2, 3, account=2)])
    assert position(shared, 1, 0) == 2
    assert position(shared, 1, 9) == 13
    assert position(shared, 2, 2) == 6


def test_every_other_account_goes_first_until_it_has_no_more_jobs() -> None:
    shared = forecast_of(
        [sample(1, 10, account=1), sample(2, 3, account=2), sample(3, 5, account=3), sample(4, 2)]
    )
    assert [position(shared, 1, number) for number in (0, 1, 9)] == [2 + 4, 4 + 7, 12 + 8]
    assert [position(shared, 2, number) for number in (0, 2)] == [3, 9]


def test_a_weight_goes_ahead() -> None:
    shared = forecast_of([sample(1, 10, account=1, weight=1), sample(2, 10, account=2, weight=3)])
    assert position(shared, 1, 0) == 4
    assert position(shared, 2, 2) == 4


def test_a_backfill_waits_for_all_interactive_jobs_but_for_the_floor() -> None:
    shared = forecast_of([sample(1, 5, lane=Lane.BACKFILL), sample(2, 20, account=2)])
    assert [position(shared, 1, number) for number in range(4)] == [10, 20, 23, 24]
    assert position(shared, 2, 7) == 8
    assert position(shared, 2, 19) == 22


def test_between_samples_places_are_interpolated() -> None:
    sparse = FlowSample(1, UUID(int=1), Lane.INTERACTIVE, 1, [UUID(int=0), UUID(int=100)], [1, 101])
    found = forecast([sparse], {1: ServiceRate.of([Starts([1], 1)], MANY, 0)}, {1: frozenset({1})})
    assert found.estimate(1, UUID(int=50), 0) == Estimate(51, 51)
    assert found.estimate(1, UUID(int=100), 0) == Estimate(101, 101)


def test_nobody_knows_how_many_came_between_the_last_known_job_and_a_later_one() -> None:
    assert forecast_of([sample(1, 5)]).estimate(1, UUID(int=1005), 0) == UNKNOWN


def test_a_job_that_came_back_to_the_front_is_first() -> None:
    assert forecast_of([sample(1, 5)]).estimate(1, UUID(int=999), 1) == Estimate(1, 1)


def test_where_nobody_serves_there_is_a_position_and_no_time() -> None:
    stuck = forecast_of([sample(1, 2)], NOBODY)
    assert position(stuck, 1, 1) == 2
    assert eta(stuck, 1, 1) is None


def test_fractions_of_calls_add_up_to_whole_positions() -> None:
    """Four images at a time here and one there, at the same rate: 1.6 calls for each job of four."""
    mixed = FlowSample(
        1, UUID(int=1), Lane.INTERACTIVE, 1, [UUID(int=n) for n in range(5)], [1.6, 3.2, 4.8, 6.4, 8]
    )
    found = forecast([mixed], {1: ServiceRate.of([Starts([1], 1)], MANY, 0)}, {1: frozenset({1})})
    assert [found.estimate(1, UUID(int=n), 0) for n in (0, 4)] == [Estimate(2, 1.6), Estimate(8, 8)]


def test_it_travels_as_text() -> None:
    made = forecast_of([sample(1, 5), sample(2, 3, account=2)])
    assert Forecast.decode(made.encode()) == made


@pytest.mark.parametrize("flow_id", [1, 2])
def test_what_is_not_known_is_not_made_up(flow_id: int) -> None:
    assert Forecast({}).estimate(flow_id, UUID(int=1), 0) == UNKNOWN
