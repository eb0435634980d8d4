"""How long a loop waits before it looks without a wake-up, and how far apart two looks begin."""

from __future__ import annotations

import threading
from itertools import pairwise

from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import open_redis
from imagequeue.wakeup import WakeupListener
from worker.wake import (
    HURRIED_SECONDS,
    LEAST_SECONDS,
    LOOK_SECONDS,
    MOST_SECONDS,
    QUIET_AFTER_SECONDS,
    QUIET_LOOK_SECONDS,
    SHARE,
    LookInterval,
    Pace,
    UntilSet,
    Wake,
)

CHANNEL = "channel"


class Clock:
    """A clock that the test moves, and that waiting moves."""

    now = 0.0

    def __init__(self) -> None:
        self.waited = list[float]()

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


def test_looks_are_rarer_after_some_time_without_work_and_frequent_again_once_there_is_some() -> None:
    clock = Clock()
    interval = LookInterval(clock)
    assert interval.seconds(may_be_woken=True) == LOOK_SECONDS
    clock.now += QUIET_AFTER_SECONDS
    assert interval.seconds(may_be_woken=True) == QUIET_LOOK_SECONDS
    interval.busy()
    assert interval.seconds(may_be_woken=True) == LOOK_SECONDS


def test_who_cannot_be_woken_looks_often_however_quiet_it_is() -> None:
    clock = Clock()
    interval = LookInterval(clock)
    clock.now += 1000 * QUIET_AFTER_SECONDS
    assert interval.seconds(may_be_woken=False) == LOOK_SECONDS


def gaps(clock: Clock, looks: list[float]) -> list[float]:
    """How far apart looks begin that take so long each and are asked for at once."""
    pace, began = Pace(clock.wait, clock), list[float]()
    for took in looks:
        pace.rest()
        began.append(clock.now)
        clock.now += took
        pace.ended()
    return [round(later - one, 6) for one, later in pairwise(began)]


def test_a_look_begins_at_once_after_a_quiet_time_and_else_some_time_after_the_one_before() -> None:
    clock = Clock()
    pace = Pace(clock.wait, clock)
    assert not pace.rest()
    pace.ended()
    clock.now += LEAST_SECONDS
    assert not pace.rest()
    assert gaps(clock, [0.0, 0.0, 0.0]) == [LEAST_SECONDS] * 2


def test_looks_that_take_longer_begin_further_apart_up_to_a_bound() -> None:
    assert gaps(Clock(), [0.01, 0.0]) == [0.01 * SHARE]
    assert gaps(Clock(), [MOST_SECONDS / 2, 0.0]) == [MOST_SECONDS]
    assert gaps(Clock(), [MOST_SECONDS * 2, 0.0]) == [MOST_SECONDS * 2]


def test_a_look_that_others_wait_for_begins_soon() -> None:
    clock = Clock()
    pace = Pace(clock.wait, clock)
    pace.rest()
    pace.ended()
    assert pace.rest(hurried=True)
    assert clock.now == HURRIED_SECONDS


def test_wake_ups_that_come_before_a_look_begins_cause_no_other_one(redis_url: str) -> None:
    publishing, listening = (open_redis(read_redis_url(redis_url)) for _ in range(2))
    listener = WakeupListener(listening, CHANNEL)
    clock = Clock()

    def meanwhile(seconds: float) -> None:
        """Two more come while the look waits for its beginning."""
        for _ in range(2):
            assert publishing.publish(CHANNEL, "") == 1  # pyright: ignore[reportUnknownMemberType]
        clock.wait(seconds)

    wake = Wake(listener, Pace(meanwhile, clock), LookInterval())
    wake(0)  # the subscription begins
    assert publishing.publish(CHANNEL, "") == 1  # pyright: ignore[reportUnknownMemberType]
    wake(0)
    assert len(clock.waited) == 1
    assert not listener.wait(0.0)
    listener.close()


def test_what_is_set_before_a_look_begins_causes_no_other_one() -> None:
    event, stopping = threading.Event(), threading.Event()
    until = UntilSet(event, stopping, hurried=lambda: False)
    event.set()
    until(0)
    assert not event.is_set()
    stopping.set()
    until(0)  # the process stops, so nothing is waited for
