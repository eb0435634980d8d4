"""Start window: between which moments a call may start."""

from __future__ import annotations

from dataclasses import dataclass

from imagequeue.domain.quota import LEASE_SLACK


@dataclass(frozen=True, slots=True)
class StartWindow:
    """Between which moments an attempt's call may start, in seconds of this machine's monotonic clock.

    The database computes the seconds until the start (`slot_at`) at an unknown moment of the reading. So the
    window opens as if that had been at the reading's end, and closes as if it had been at its beginning:
    however slow the reading was, the call never starts early, and never later than its lease allows.
    """

    opens: float
    closes: float

    @classmethod
    def of(cls, starts_in: float, began: float, ended: float) -> StartWindow:
        """From a reading that began and ended at these moments and said "in `starts_in` seconds"."""
        return cls(ended + starts_in, began + starts_in + LEASE_SLACK)
