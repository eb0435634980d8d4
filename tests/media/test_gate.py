"""The gate: how many threads are in at a time."""

from __future__ import annotations

import threading

from imagequeue.media.gate import Gate


def test_gate_lets_its_number_in_and_a_thread_twice() -> None:
    gate, inside, release = Gate(1), threading.Event(), threading.Event()

    def hold() -> None:
        with gate, gate:
            inside.set()
            release.wait(120)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(120)
    entered = threading.Event()

    def enter() -> None:
        with gate:
            entered.set()

    waiter = threading.Thread(target=enter)
    waiter.start()
    assert not entered.wait(0.1)
    release.set()
    assert entered.wait(120)
    holder.join(120)
    waiter.join(120)
