"""Positions and times of waiting jobs."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from imagequeue.domain.jobs import Lane
from imagequeue.domain.outlook import Line, Outlook, Service, foresee

STEADY = Service(starts=[0, 10, 20], rate=0.1, latency=2)


def line(flow_id: int, count: int, account: int = 1, lane: Lane = Lane.INTERACTIVE, weight: int = 1) -> Line:
    ids = [UUID(int=1000 * flow_id + number) for number in range(count)]
    return Line(flow_id, UUID(int=account), lane, weight, ids, list(range(1, count + 1)))


def outlook(lines: Sequence[Line], service: Service = STEADY) -> Outlook:
    ids = frozenset(one.flow_id for one in lines)
    return foresee(lines, dict.fromkeys(ids, service), dict.fromkeys(ids, ids))


def position(of: Outlook, flow_id: int, number: int) -> int:
    found = of.estimate(flow_id, UUID(int=1000 * flow_id + number), 0)
    assert found is not None
    return found.position


def eta(of: Outlook, flow_id: int, number: int, age: float = 0) -> float | None:
    found = of.estimate(flow_id, UUID(int=1000 * flow_id + number), age)
    assert found is not None
    return found.eta_seconds


def test_a_lone_line_is_served_in_order() -> None:
    alone = outlook([line(1, 5)])
    assert [position(alone, 1, number) for number in range(5)] == [1, 2, 3, 4, 5]
    assert [eta(alone, 1, number) for number in range(5)] == [2, 12, 22, 32, 42]


def test_an_estimate_runs_down_with_its_age_and_never_below_nothing() -> None:
    alone = outlook([line(1, 5)])
    assert eta(alone, 1, 1, age=5) == 7
    assert eta(alone, 1, 0, age=60) == 0


def test_accounts_take_turns_while_they_have_jobs() -> None:
    shared = outlook([line(1, 10, account=1), line(2, 3, account=2)])
    assert position(shared, 1, 0) == 2
    assert position(shared, 1, 9) == 13
    assert position(shared, 2, 2) == 6


def test_a_weight_goes_ahead() -> None:
    shared = outlook([line(1, 10, account=1, weight=1), line(2, 10, account=2, weight=3)])
    assert position(shared, 1, 0) == 4
    assert position(shared, 2, 2) == 4


def test_a_backfill_waits_for_all_interactive_jobs_but_for_the_floor() -> None:
    shared = outlook([line(1, 5, lane=Lane.BACKFILL), line(2, 20, account=2)])
    assert [position(shared, 1, number) for number in range(4)] == [10, 20, 23, 24]
    assert position(shared, 2, 7) == 8
    assert position(shared, 2, 19) == 22


def test_between_samples_and_behind_the_last_one_places_are_interpolated() -> None:
    sparse = Line(1, UUID(int=1), Lane.INTERACTIVE, 1, [UUID(int=0), UUID(int=100)], [1, 101])
    found = foresee([sparse], {1: Service([], 1, 0)}, {1: frozenset({1})})
    between = found.estimate(1, UUID(int=50), 0)
    assert between is not None
    assert (between.position, between.eta_seconds) == (51, 51)
    behind = found.estimate(1, UUID(int=500), 0)
    assert behind is not None
    assert behind.position == 101


def test_without_a_rate_there_is_a_position_and_no_time() -> None:
    stuck = outlook([line(1, 2)], Service([], 0, 1))
    assert position(stuck, 1, 1) == 2
    assert eta(stuck, 1, 1) is None


def test_it_travels_as_text() -> None:
    made = outlook([line(1, 5), line(2, 3, account=2)])
    assert Outlook.decode(made.encode()) == made


@pytest.mark.parametrize("flow_id", [1, 2])
def test_what_is_not_known_is_not_made_up(flow_id: int) -> None:
    assert Outlook({}).estimate(flow_id, UUID(int=1), 0) is None
