"""How long to wait before a child that ended is started again.

Beside the retry table (`imagequeue/domain/backoff.py`), for the supervisor imports nothing of what it
supervises: it has to work when that does not. Its rule is another one, too: a first restart at once, and a
steady life that makes up for earlier failures. There is no jitter, because each child waits alone.
"""

STEADY_SECONDS = 10.0
"""A child that lived so long has started well: what ended it is another trouble than before."""

FIRST_SECONDS = 0.1
"""Before the second restart in a row. The first is at once: most children that die were killed once."""

LONGEST_SECONDS = 5.0
"""So that a child whose trouble is over is back soon, and one that always fails costs little."""


class Backoff:
    """At once after a steady life, then 0.1 s, doubling up to 5 s, while it keeps ending within 10 s."""

    def __init__(self) -> None:
        self.failures = 0

    def after(self, lived_seconds: float) -> float:
        """The seconds to wait after a life of `lived_seconds`."""
        if lived_seconds >= STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            return 0.0
        return min(FIRST_SECONDS * 2 ** (self.failures - 2), LONGEST_SECONDS)
