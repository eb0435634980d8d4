"""What signals do to a process of ours, and how it ends when it finds that it no longer works."""

from __future__ import annotations

import os
import signal
import threading

import structlog

log = structlog.get_logger()

NOT_WORKING = 70


def give_up(reason: str) -> None:
    """End this process at once; the supervisor starts another one, and what it held is rescued."""
    log.error("process_gives_up", reason=reason)
    os._exit(NOT_WORKING)


def on_termination(stopping: threading.Event) -> None:
    """Set `stopping` on SIGTERM and SIGINT."""

    def on_signal(number: int, frame: object) -> None:
        del number, frame
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


def on_hangup(asked: threading.Event) -> None:
    """Set `asked` on SIGHUP: read the catalog again. Call it from the main thread."""

    def on_signal(number: int, frame: object) -> None:
        del number, frame
        asked.set()

    signal.signal(signal.SIGHUP, on_signal)
