"""Wait for what another process or thread does and cannot announce: by asking again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 120.0
"""More than anything takes on a busy machine: only a test that fails waits so long."""
_PAUSE_SECONDS = 0.02
"""Between two questions, so that those who wait leave the machine to what they wait for."""


def eventually(
    question: Callable[[], object],
    seconds: float = PATIENCE_SECONDS,
    *,
    otherwise: Callable[[], object] = lambda: "it did not come true in time",
) -> None:
    """Ask until the answer is yes, and fail when it is not within `seconds`; `otherwise` says what is then.

    Where there is an event (a line of a process, a condition, a queue), wait for that instead.
    """
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(_PAUSE_SECONDS)  # the one place of the tests that polls
