"""How many more calls may be made: by the slots of the lanes, by all slots, by deployment."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits, OpenCalls
from imagequeue.store import processes
from imagequeue.store.attempts.deployments import DeploymentState
from imagequeue.store.processes import ProcessRecord
from tests import builders
from tests.pipeline import Pipeline

BOTH = tuple(f"generate.{lane}" for lane in Lane)


def deployment(**given: Any) -> Deployment:
    found = builders.catalog(**given).deployment("foundry-test")
    assert found is not None
    return found


def limits(interactive: int, backfill: int, **more: Any) -> ConcurrencyLimits:
    slots = {Lane.INTERACTIVE: interactive, Lane.BACKFILL: backfill}
    return ConcurrencyLimits(slots=slots, in_all=interactive + backfill, **more)


def taken(of: ConcurrencyLimits, lane: Lane, by: Deployment) -> int:
    """How many calls it takes until no more may be made."""
    count = 0
    while of.take(lane, by):
        count += 1
    assert of.left(lane, by) <= 0
    return count


def state(failures: int, blocked_for: float, *, misconfigured: bool = False) -> dict[str, DeploymentState]:
    known = DeploymentState("foundry-test", failures, misconfigured, "broken", blocked_for)
    return {"foundry-test": known}


def test_a_deployment_holds_half_of_each_lanes_slots_and_so_half_of_all() -> None:
    of, one = limits(20, 8), deployment()
    assert of.left_in(tuple(Lane), one) == 14
    assert taken(of, Lane.INTERACTIVE, one) == 10
    assert taken(of, Lane.BACKFILL, one) == 4
    assert (of.open_calls.by_deployment["foundry-test"], of.left_in(tuple(Lane), one)) == (14, 0)


def test_one_call_is_always_allowed_where_there_is_a_slot() -> None:
    of, one = limits(1, 0), deployment()
    assert taken(of, Lane.INTERACTIVE, one) == 1
    assert taken(of, Lane.BACKFILL, one) == 0


def test_max_in_flight_is_over_all_lanes_and_stops_at_the_slots() -> None:
    of, one = limits(20, 8), deployment(max_in_flight=22)
    assert of.left_in(tuple(Lane), one) == 22
    assert taken(of, Lane.INTERACTIVE, one) == 20
    assert taken(of, Lane.BACKFILL, one) == 2


def test_what_is_in_flight_elsewhere_uses_the_lanes_slots() -> None:
    of, one = limits(10, 10, open_calls=OpenCalls(by_lane=Counter({Lane.INTERACTIVE: 8}))), deployment()
    assert of.left(Lane.INTERACTIVE, one) == 2
    assert of.left(Lane.BACKFILL, one) == 5


def test_an_open_breaker_allows_no_call_and_a_half_open_one_a_probe() -> None:
    one = deployment()
    assert limits(10, 10, states=state(5, 20.0)).left(Lane.INTERACTIVE, one) == 0
    assert limits(10, 10, states=state(2, 20.0, misconfigured=True)).left(Lane.INTERACTIVE, one) == 0
    half_open = limits(10, 10, states=state(5, 0.0))
    assert taken(half_open, Lane.INTERACTIVE, one) == 1
    assert half_open.left(Lane.BACKFILL, one) == 0
    assert limits(10, 10, states=state(4, 0.0)).left(Lane.INTERACTIVE, one) == 5


def register(engine: Engine, slots: int, *queues: str) -> None:
    with engine.begin() as connection:
        processes.register(connection, ProcessRecord(new_id(), "worker", "test", 1, queues, slots))


def look(engine: Engine) -> ConcurrencyLimits:
    with engine.connect() as connection:
        return ConcurrencyLimits.read(connection)


@pytest.mark.parametrize(
    ("workers", "interactive", "backfill", "in_all"),
    [
        ([(1, BOTH)], 1, 1, 1),
        ([(1, BOTH), (1, BOTH)], 1, 1, 2),
        ([(1, BOTH), (1, BOTH), (1, BOTH)], 2, 2, 3),
        ([(5, BOTH), (4, BOTH[:1])], 7, 3, 9),
        ([(64, (*BOTH, "deliveries"))], 32, 32, 64),
        ([(8, ("deliveries",))], 0, 0, 0),
        ([(0, BOTH)], 0, 0, 0),
    ],
)
def test_slots_are_shared_between_the_lanes_of_a_worker(
    engine: Engine, workers: list[tuple[int, tuple[str, ...]]], interactive: int, backfill: int, in_all: int
) -> None:
    for slots, queues in workers:
        register(engine, slots, *queues)
    found = look(engine)
    assert dict(found.slots) == {Lane.INTERACTIVE: interactive, Lane.BACKFILL: backfill}
    assert found.in_all == in_all


@given(st.lists(st.sampled_from(list(Lane)), max_size=40), st.integers(0, 9), st.integers(0, 9))
def test_calls_never_exceed_the_slots(lanes: list[Lane], shared: int, own: int) -> None:
    """`shared` slots serve both lanes, `own` only the interactive one: whoever asks, there is a slot."""
    of = ConcurrencyLimits(
        slots={Lane.INTERACTIVE: own + (shared + 1) // 2, Lane.BACKFILL: (shared + 1) // 2},
        in_all=own + shared,
    )
    one = deployment(max_in_flight=100)
    for lane in lanes:
        of.take(lane, one)
    assert of.open_calls.by_lane.total() <= own + shared
    assert of.open_calls.by_lane[Lane.BACKFILL] <= shared


def test_a_worker_with_one_slot_serves_both_lanes_one_call_at_a_time(pipeline: Pipeline) -> None:
    pipeline.execute("UPDATE processes SET slots = 1")
    pipeline.submit(2)
    pipeline.submit(2, lane=Lane.BACKFILL)
    for _ in range(4):
        pipeline.beat()
        assert pipeline.dispatch.run_once() == 1
        assert pipeline.dispatch.run_once() == 0
        pipeline.answer()
    assert pipeline.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]
