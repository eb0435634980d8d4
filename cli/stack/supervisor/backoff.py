"""How long to wait before a child that ended is started again."""

STEADY_SECONDS = 10.0
FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0


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
