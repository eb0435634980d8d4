"""How long to wait before a child that ended is started again.

It is not in the retry table (`imagequeue/domain/backoff.py`), because the supervisor imports nothing of what
it supervises, so that it works when that does not. Its rule differs, too: the first restart is at once, and a
child that has run steadily starts without failures again. There is no jitter, because each child waits alone.
"""

STEADY_SECONDS = 10.0
"""A child that has run so long had started well, so what ended it is not what ended it before."""

FIRST_SECONDS = 0.1
"""Before the second restart in a row. The first is at once, because most ends are a single kill."""

LONGEST_SECONDS = 5.0
"""The most seconds before a restart: what can start again is back soon, what always fails costs little."""


class Backoff:
    """No wait after a steady run; then 0.1 s, doubling up to 5 s, while the child ends within 10 s."""

    def __init__(self) -> None:
        self.failures = 0

    def after(self, lived_seconds: float) -> float:
        """The seconds to wait after a run of `lived_seconds`."""
        if lived_seconds >= STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            return 0.0
        return min(FIRST_SECONDS * 2 ** (self.failures - 2), LONGEST_SECONDS)
