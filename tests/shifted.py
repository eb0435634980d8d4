"""A program: the console script under a wall clock that is wrong by some seconds.

`python -m tests.shifted SECONDS COMMAND...`. The monotonic clock stays what it is, as on a machine whose time
nobody sets.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import time_machine

from cli.main import main


def run(seconds: str, *command: str) -> None:
    """Shift the clock, and be `imagequeue COMMAND`."""
    sys.argv[1:] = command
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=float(seconds)), tick=True):
        main()


if __name__ == "__main__":
    run(*sys.argv[1:])
