"""What signals do to a process of ours, and how it ends when it finds that it no longer works.

    SIGTERM, SIGINT    stop: finish what runs, leave nothing behind, end with 0
    SIGHUP             read the catalog again
    SIGKILL            at any moment; what the process held is rescued

A program that a user starts at a terminal (`up`, the demo) stops when its terminal is gone, which SIGHUP
says as well, and goes on under `nohup`. Everything here is for the main thread: Python allows handlers there
alone.
"""

from __future__ import annotations

import os
import signal
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import structlog

log = structlog.get_logger()

NOT_WORKING = 70
"""Exit status of a process that gave up: EX_SOFTWARE of sysexits.h."""

Act = Callable[[int], object]
"""What a signal does; it is told the number of the signal."""


def on_termination(act: Act) -> None:
    """Act on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        _take(number, act)


def on_hangup(act: Act) -> None:
    """Act on SIGHUP."""
    _take(signal.SIGHUP, act)


def on_signals_of_a_terminal(loop: AbstractEventLoop, *, stop: Act, hung_up: Act) -> None:
    """Act on SIGTERM and SIGINT, and on SIGHUP, in an event loop of the main thread.

    A handler of `signal.signal` would not wake an event loop that waits. What the program was started to
    ignore (`nohup` does so with SIGHUP) stays ignored.
    """
    for number, act in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, hung_up)):
        if not _is_ignored(number):
            loop.add_signal_handler(number, act, number)


def exit_on(*numbers: signal.Signals) -> None:
    """Leave through every `finally`, with the exit status that a shell gives to what died by that signal.

    What the program was started to ignore stays ignored.
    """
    for number in numbers:
        if not _is_ignored(number):
            _take(number, _exit)


def give_up(reason: str) -> None:
    """End this process at once; the supervisor starts another one, and what it held is rescued."""
    log.error("process_gives_up", reason=reason)
    os._exit(NOT_WORKING)


def _take(number: signal.Signals, act: Act) -> None:
    def on_signal(received: int, frame: FrameType | None) -> None:
        del frame
        act(received)

    signal.signal(number, on_signal)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def _exit(number: int) -> NoReturn:
    sys.exit(128 + number)
