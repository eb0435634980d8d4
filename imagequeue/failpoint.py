"""Named places where a test can make a process die, fail or hang (docs/reliability.md, "Crash points").

`IMAGEQUEUE_FAILPOINT=name:kill|raise|sleep`, several separated by commas; nothing happens unless it is set.
"""

from __future__ import annotations

import os
import signal
import threading
from functools import cache

_SLEEP_SECONDS = 3600.0
"""Longer than any test, which ends the process itself."""


class FailpointHit(Exception):
    """A failpoint with the action `raise` was reached."""


def failpoint(name: str) -> None:
    """Do the action that the environment sets for the place `name`; nothing without one."""
    armed = os.environ.get("IMAGEQUEUE_FAILPOINT")
    if armed:
        _act(_parse(armed).get(name), name)


def _act(action: str | None, name: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "raise":
        raise FailpointHit(name)
    if action == "sleep":
        threading.Event().wait(_SLEEP_SECONDS)


@cache
def _parse(armed: str) -> dict[str, str]:
    pairs = (entry.strip().rpartition(":") for entry in armed.split(","))
    return {name: action for name, _, action in pairs}
