"""What signals do to a program of ours: real programs get real ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

PATIENCE = 120
_BEGIN = """
import asyncio, os, signal, sys, threading
from imagequeue.signals import exit_on, on_hangup, on_signals_of_a_terminal, on_termination
def say(text):
    print(text, flush=True)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN if number.name in sys.argv else signal.SIG_DFL)
"""
SERVING = """
stopping = threading.Event()
on_termination(lambda number: (say(f"stop {number}"), stopping.set()))
on_hangup(lambda number: say(f"hangup {number}"))
say("ready")
stopping.wait()
"""
LOOPING = """
async def run():
    stopping = asyncio.Event()
    on_signals_of_a_terminal(
        asyncio.get_running_loop(),
        stop=lambda number: (say(f"stop {number}"), stopping.set()),
        hung_up=lambda number: say(f"hangup {number}"),
    )
    say("ready")
    await stopping.wait()
asyncio.run(run())
"""
LEAVING = """
exit_on(signal.SIGTERM, signal.SIGHUP)
try:
    say("ready")
    sys.stdin.readline()
finally:
    say("finally")
"""


@contextmanager
def _program(text: str, *, ignoring: str = "") -> Generator[subprocess.Popen[str]]:
    """A program that is ready, whose parent let it ignore one signal, or none."""
    command = [sys.executable, "-c", _BEGIN + text, ignoring]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert _said(process) == "ready"
            yield process
        finally:
            process.kill()


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().rstrip()


@pytest.mark.parametrize("text", [SERVING, LOOPING], ids=["a thread waits", "an event loop waits"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hangup_is_heard_and_a_termination_ends_the_program(text: str, number: signal.Signals) -> None:
    with _program(text) as process:
        process.send_signal(signal.SIGHUP)
        assert _said(process) == f"hangup {signal.SIGHUP.value}"
        process.send_signal(number)
        assert _said(process) == f"stop {number.value}"
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_leaves_runs_every_finally(number: signal.Signals) -> None:
    with _program(LEAVING) as process:
        process.send_signal(number)
        assert _said(process) == "finally"
        assert process.wait(PATIENCE) == 128 + number


@pytest.mark.parametrize("text", [LOOPING, LEAVING], ids=["up", "demo"])
def test_a_program_under_nohup_does_not_hear_of_its_terminal(text: str) -> None:
    with _program(text, ignoring="SIGHUP") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert _said(process) in {f"stop {signal.SIGTERM.value}", "finally"}
        assert process.wait(PATIENCE) in {0, 128 + signal.SIGTERM}


def test_a_process_of_a_stack_under_nohup_still_reads_its_catalog_again() -> None:
    with _program(SERVING, ignoring="SIGHUP") as process:
        process.send_signal(signal.SIGHUP)
        assert _said(process) == f"hangup {signal.SIGHUP.value}"
