"""Where `up` tells the user what happens."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Console:
    """Two places, as the functions that take a line each.

    Attributes:
        say: what belongs to standard output: the first key, and that the stack is ready.
        report: what belongs to standard error: what goes on.
    """

    say: Callable[[str], None]
    report: Callable[[str], None]
