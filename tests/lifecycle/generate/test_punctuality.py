"""A process that begins its calls late offers fewer worker slots, until it begins them in time."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from uuid import UUID

import pytest

from imagequeue.domain.ids import new_id
from imagequeue.domain.slot_limit import LATE_SECONDS, RECOVERY_SECONDS
from imagequeue.domain.verdicts import GivenBack
from imagequeue.lifecycle.generate.available_slots import AvailableSlots
from imagequeue.lifecycle.generate.call_start import CallStart
from imagequeue.lifecycle.generate.in_flight import InFlight
from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.lifecycle.generate.start_window import StartWindow
from imagequeue.store.attempts import calls
from tests.eventually import eventually
from tests.pipeline import Pipeline

SLOTS = 64
LONG_LATE = 10 * LATE_SECONDS


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


def _start(pipeline: Pipeline, attempt_id: UUID, *, opened: float, rung: float) -> CallStart:
    """The start of a call whose window opened, and whose doorbell came, so many seconds ago."""
    generation, now = pipeline.generation, time.monotonic()
    with pipeline.runtime.engine.begin() as connection:
        ticket = calls.read_ticket(connection, attempt_id)
    assert ticket is not None
    window = StartWindow.of(0.0, now - opened, now - opened)
    process, catalog = generation.process, generation.upstreams.catalog
    return CallStart(generation.records, process, catalog, ticket, window, rung_at=now - rung)


def _released(pipeline: Pipeline) -> UUID:
    pipeline.submit()
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    return doorbell.attempt_id


def _offers(pipeline: Pipeline) -> int:
    punctuality = pipeline.generation.process.punctuality
    return AvailableSlots(punctuality, pipeline.health, pipeline.spill, pipeline.stopping)()


def test_a_process_that_comes_late_to_a_start_offers_fewer_slots(pipeline: Pipeline) -> None:
    start = _start(pipeline, _released(pipeline), opened=LONG_LATE, rung=LONG_LATE)
    assert _offers(pipeline) == SLOTS
    with pytest.raises(GivenBack, match="too late"):
        start.require_in_time()
    assert 0 < _offers(pipeline) < SLOTS


def test_a_doorbell_that_came_late_is_no_fault_of_the_process(pipeline: Pipeline) -> None:
    start = _start(pipeline, _released(pipeline), opened=LONG_LATE, rung=0.0)
    with pytest.raises(GivenBack, match="too late"):
        start.require_in_time()
    assert _offers(pipeline) == SLOTS


def test_a_call_whose_start_has_passed_is_given_back_before_anything_is_done_for_it(
    pipeline: Pipeline,
) -> None:
    attempt_id = _released(pipeline)
    pipeline.execute(
        "UPDATE attempts SET slot_at = clock_timestamp() - make_interval(secs => :late)", late=LONG_LATE
    )

    def secret(_: object) -> str:
        raise AssertionError("a request is built")

    upstreams = replace(pipeline.generation.upstreams, secret=secret)
    replace(pipeline.generation, upstreams=upstreams).run(attempt_id)
    assert pipeline.rows("SELECT state, reason FROM attempts") == [
        ("GIVEN_BACK", "too late for its start"),
    ]


def test_the_slots_come_back_with_time() -> None:
    clock = Clock()
    punctuality = Punctuality(SLOTS, clock)
    punctuality.began(clock.now - LONG_LATE, InFlight())
    cut = punctuality.slots()
    clock.now += RECOVERY_SECONDS / 4
    later = punctuality.slots()
    clock.now += RECOVERY_SECONDS
    assert cut < later < punctuality.slots() == SLOTS


def test_a_call_whose_upstream_has_it_keeps_its_slot(pipeline: Pipeline) -> None:
    attempt_id, waiting = _released(pipeline), [new_id() for _ in range(SLOTS // 2)]
    start = _start(pipeline, attempt_id, opened=LONG_LATE, rung=LONG_LATE)
    in_flight = pipeline.generation.process.in_flight
    with ExitStack() as held:
        for one in waiting:
            held.enter_context(in_flight.take(one))
            in_flight.sent(one)
        with pytest.raises(GivenBack, match="too late"):
            start.require_in_time()
        assert len(waiting) <= _offers(pipeline) < SLOTS
    assert in_flight.waiting() == 0


def test_while_an_upstream_has_a_call_it_counts_as_waiting(pipeline: Pipeline) -> None:
    attempt_id, in_flight = _released(pipeline), pipeline.generation.process.in_flight
    pipeline.fault(kind="drip", bytes_per_second=20_000, count=1)
    thread = threading.Thread(target=pipeline.generation.run, args=(attempt_id,))
    thread.start()
    eventually(lambda: in_flight.waiting() == 1)
    thread.join(120)
    assert (in_flight.waiting(), in_flight.count()) == (0, 0)
    assert pipeline.rows("SELECT state FROM attempts") == [("SUCCEEDED",)]
