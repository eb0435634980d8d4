"""When calls start, and when they are done."""

from __future__ import annotations

import pytest

from imagequeue.domain.service_rate import ServiceRate, Starts, WorkerSlots

MANY = WorkerSlots([0.0] * 1000, 0.1)


def done(service: ServiceRate, places: range) -> list[float | None]:
    return [service.done_in(place) for place in places]


def test_planned_starts_come_first_and_then_the_rate() -> None:
    service = ServiceRate.of([Starts([0, 10, 20], 0.1)], MANY, latency=2)
    assert done(service, range(1, 6)) == [2, 12, 22, 32, 42]


def test_groups_start_calls_beside_each_other() -> None:
    service = ServiceRate.of([Starts([0, 10], 0.1), Starts([5, 25], 0.05)], MANY, latency=0)
    assert done(service, range(1, 5)) == [0, 5, 10, 20]
    assert service.done_in(5) == 25
    assert service.done_in(8) == pytest.approx(25 + 2.5 / 0.15)


def test_a_blocked_group_counts_from_the_end_of_its_block() -> None:
    alone = ServiceRate.of([Starts([120, 121], 1)], MANY, latency=0)
    assert done(alone, range(1, 4)) == [120, 121, 122]
    beside = ServiceRate.of([Starts([120, 121], 1), Starts([0], 0.1)], MANY, latency=0)
    assert beside.done_in(2) == 10
    assert beside.done_in(12) == 110
    assert beside.done_in(13) == 120
    assert beside.done_in(14) == pytest.approx(120, abs=1)


def test_a_call_waits_for_a_slot_of_its_deployment() -> None:
    """One at a time, five seconds each: what the quota allows is not what happens."""
    starts = Starts([0.1 * number for number in range(200)], 10).within(WorkerSlots([3.0], 5.0))
    service = ServiceRate.of([starts], MANY, latency=5)
    assert done(service, range(1, 4)) == [8, 13, 18]
    assert service.done_in(200) == pytest.approx(1003)
    assert service.done_in(300) == pytest.approx(1503)


def test_a_call_waits_for_a_slot_of_its_lane() -> None:
    service = ServiceRate.of(
        [Starts([0.0] * 10, 10), Starts([0.0] * 10, 10)], WorkerSlots([0, 2], 5), latency=1
    )
    assert done(service, range(1, 6)) == [1, 3, 6, 8, 11]


def test_without_slots_or_groups_nobody_serves() -> None:
    assert ServiceRate.of([Starts([0], 1)], WorkerSlots([], 1), latency=1).done_in(1) is None
    assert ServiceRate.of([Starts([0], 1).within(WorkerSlots([], 1))], MANY, latency=1).done_in(1) is None
    assert ServiceRate.of([], MANY, latency=1).done_in(1) is None
