"""A process of a stack waits until its supervisor opens the gate."""

import os
import threading

import pytest

from cli.stack.start_gate import StartGate
from cli.start_gate import wait_at

OPENED_AFTER_SECONDS = 0.2
"""Time for a process that does not wait to show it."""


def test_a_process_waits_until_the_gate_is_open() -> None:
    gate, opened = StartGate(), threading.Event()

    def open_gate() -> None:
        opened.set()
        gate.open()

    opener = threading.Timer(OPENED_AFTER_SECONDS, open_gate)
    opener.start()
    wait_at(os.dup(gate.descriptor))
    assert opened.is_set()
    opener.join()
    gate.close()


def test_one_that_starts_later_finds_it_open_and_leaves_no_descriptor() -> None:
    gate = StartGate()
    gate.open()
    listening = os.dup(gate.descriptor)
    wait_at(listening)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(listening)
    gate.close()
