"""Loops outlive what their passes meet, and end when the process stops."""

from __future__ import annotations

import threading

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from imagequeue.loops import Interval, Loop, Watchdog, retry_until_stopped


def test_a_turn_that_fails_is_followed_by_another() -> None:
    stopping, passes = threading.Event(), list[int]()

    def once() -> int:
        passes.append(len(passes))
        if len(passes) == 3:
            stopping.set()
        if len(passes) < 3:
            raise RuntimeError("a pass that fails")
        return 1

    loop = Loop("test", once, Interval(60, stopping), stopping)
    thread = loop.start()
    thread.join(120)
    assert not thread.is_alive(), "stopping ends the pause"
    assert passes == [0, 1, 2]
    assert loop.failures == 0


class Clock:
    """Goes on as it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_age_of_a_turn_has_no_pause_in_it_and_a_pause_no_turn() -> None:
    stopping, clock, ages = threading.Event(), Clock(), list[float]()

    def once() -> int:
        ages.append(loop.age())
        clock.now += 50
        ages.append(loop.age())
        if len(ages) > 4:
            raise RuntimeError("a pass that fails")
        return 1

    def pause(done: int) -> None:
        del done
        ages.append(loop.age())
        clock.now += 30
        ages.append(loop.age())

    loop = Loop("test", once, pause, stopping, clock=clock)
    thread = loop.start()
    while loop.failures == 0:
        thread.join(0.01)
        assert thread.is_alive()
    stopping.set()
    thread.join(120)
    assert ages[:6] == [0, 50, 0, 30, 0, 50]
    assert loop.age() == 0, "the wait after a failure is none of its pass either"


def test_failures_come_ever_later() -> None:
    stopping = threading.Event()
    loop = Loop("test", lambda: 1 // 0, Interval(60, stopping), stopping)
    thread = loop.start()
    assert not stopping.wait(1)
    assert 1 < loop.failures < 8
    assert loop.age() < 2
    stopping.set()
    thread.join(120)
    assert not thread.is_alive()


def test_a_process_waits_for_its_database() -> None:
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    tries = list[int]()

    def begin() -> None:
        tries.append(1)
        if len(tries) < 3:
            nowhere.connect()

    retry_until_stopped(begin, threading.Event())
    assert len(tries) == 3


def test_a_process_that_stops_waits_no_longer() -> None:
    stopping, tries = threading.Event(), list[int]()

    def begin() -> None:
        tries.append(1)
        stopping.set()
        raise OperationalError("SELECT", {}, Exception("away"))

    retry_until_stopped(begin, stopping)
    assert len(tries) == 1


def test_a_loop_that_stands_still_ends_the_process() -> None:
    reasons, ages = list[str](), [1.0, 59.0]
    watchdog = Watchdog(lambda: ages, reasons.append)
    assert (watchdog.run_once(), reasons) == (0, [])
    ages[0] = 61.0
    assert (watchdog.run_once(), len(reasons)) == (1, 1)


class Stopping(threading.Event):
    """Keeps how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = list[float | None]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return False


def test_a_loop_may_wait_longer_after_a_pass_that_found_nothing() -> None:
    stopping = Stopping()
    pause = Interval(1.0, stopping, idle_seconds=5.0)
    pause(1)
    pause(0)
    Interval(2.0, stopping)(0)
    assert stopping.waits == [1.0, 5.0, 2.0]
