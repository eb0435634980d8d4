"""A process of a stack waits until its supervisor opens the gate."""

import os
import threading

from cli.stack.start_gate import StartGate
from cli.start_gate import wait_at


def test_a_process_waits_until_the_gate_is_open() -> None:
    gate, passed = StartGate(), threading.Event()
    listening = os.dup(gate.descriptor)

    def process() -> None:
        wait_at(listening)
        passed.set()

    thread = threading.Thread(target=process)
    thread.start()
    assert not passed.is_set()
    gate.open()
    thread.join()
    assert passed.is_set()
    gate.close()


def test_one_that_starts_later_finds_it_open() -> None:
    gate = StartGate()
    gate.open()
    wait_at(os.dup(gate.descriptor))
    gate.close()


def test_without_a_gate_nobody_waits() -> None:
    wait_at(None)
