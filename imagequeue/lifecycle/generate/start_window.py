"""Slot: between which moments a call may start."""

from __future__ import annotations

from dataclasses import dataclass

from imagequeue.domain.quota import LEASE_SLACK


@dataclass(frozen=True, slots=True)
class StartWindow:
    """Between which moments an attempt's call may start, on this machine's monotonic clock.

    The database said how long it was until `slot_at`, at some moment of the reading; nobody knows which.
    So the slot opens as if that had been the reading's end, and closes as if it had been its beginning:
    however slow the reading was, the call never starts early, and never later than its lease.
    """

    opens: float
    closes: float

    @classmethod
    def of(cls, starts_in: float, began: float, ended: float) -> StartWindow:
        """From what a reading said that began and ended at these moments."""
        return cls(ended + starts_in, began + starts_in + LEASE_SLACK)
