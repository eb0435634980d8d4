"""The quota of an upstream as a strict sliding log.

The rule: no half-open window of W holds more than R admitted calls. Two calls exactly W apart are never in
one half-open window, so a call at `now` has a place if and only if the R-th newest admission is at least W
old. A call that is refused takes no place, so calls to a quota that is used up do not keep it used up for
longer. Times are integer nanoseconds of one monotonic clock, so that "exactly W" has no rounding.
"""

from collections import deque
from collections.abc import Callable, Iterable

NANOSECONDS = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Seconds as integer nanoseconds."""
    return round(seconds * NANOSECONDS)


class SlidingLog:
    """Admits at most `rpm` calls in any half-open window of `window_ns`; the clock is injected."""

    def __init__(
        self, rpm: int, window_ns: int, clock: Callable[[], int], admitted: Iterable[int] = ()
    ) -> None:
        self.rpm = rpm
        self.window_ns = window_ns
        self._clock = clock
        self._places = deque(admitted, maxlen=max(rpm, 1))

    def admit(self) -> int | None:
        """Take a place now and return its time in nanoseconds; None when every place is taken."""
        now = self._clock()
        if self._wait_at(now) > 0:
            return None
        self._places.append(now)
        return now

    def wait_ns(self) -> int:
        """Nanoseconds until a place is free, 0 when there is one now."""
        return self._wait_at(self._clock())

    def _wait_at(self, now: int) -> int:
        if self.rpm == 0:
            return self.window_ns
        if len(self._places) < self.rpm:
            return 0
        return max(0, self._places[0] + self.window_ns - now)
