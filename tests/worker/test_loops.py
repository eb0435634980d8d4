"""Loops outlive what their turns meet, and end when the process stops."""

from __future__ import annotations

import threading

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from worker.loops import Loop, Pause, surely


def test_a_turn_that_fails_is_followed_by_another() -> None:
    stopping, turns = threading.Event(), list[int]()

    def once() -> int:
        turns.append(len(turns))
        if len(turns) == 3:
            stopping.set()
        if len(turns) < 3:
            raise RuntimeError("a turn that fails")
        return 1

    loop = Loop("test", once, Pause(60, stopping), stopping)
    thread = loop.start()
    thread.join(10)
    assert not thread.is_alive(), "stopping ends the pause"
    assert turns == [0, 1, 2]
    assert loop.failures == 0


def test_failures_come_ever_later() -> None:
    stopping = threading.Event()
    loop = Loop("test", lambda: 1 // 0, Pause(60, stopping), stopping)
    thread = loop.start()
    assert not stopping.wait(1)
    assert 1 < loop.failures < 8
    assert loop.age() < 2
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_process_waits_for_its_database() -> None:
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    tries = list[int]()

    def begin() -> None:
        tries.append(1)
        if len(tries) < 3:
            nowhere.connect()

    surely(begin, threading.Event())
    assert len(tries) == 3


def test_a_process_that_stops_waits_no_longer() -> None:
    stopping = threading.Event()

    def begin() -> None:
        stopping.set()
        raise OperationalError("SELECT", {}, Exception("away"))

    surely(begin, stopping)
