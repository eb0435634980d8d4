"""Where `up` prints what the user shall know."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Console:
    """Two functions that print one line each.

    Attributes:
        say: prints results to standard output: the first key, and that the stack is ready.
        report: prints events to standard error, such as the end of a process.
    """

    say: Callable[[str], None]
    report: Callable[[str], None]
