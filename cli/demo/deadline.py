"""The moment by which a demo must be over."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cli.demo.errors import DemoFailed


@dataclass(frozen=True)
class DemoDeadline:
    """A moment on the monotonic clock, in seconds."""

    moment: float

    @classmethod
    def after(cls, seconds: float) -> DemoDeadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self, waiting_for: str) -> float:
        """Seconds that are left.

        Raises:
            DemoFailed: the time is over; the message says what was waited for.
        """
        seconds = self.moment - time.monotonic()
        if seconds <= 0:
            raise DemoFailed(f"The time is over while waiting for {waiting_for}")
        return seconds
