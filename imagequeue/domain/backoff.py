"""How long to wait before the next attempt."""

from __future__ import annotations

from random import Random


def exponential(failures: int, *, base: float, cap: float, random: Random) -> float:
    """Seconds to wait: `base`, doubled by every further failure up to `cap`, less up to half at random."""
    full = min(cap, base * 2 ** max(0, min(failures - 1, 30)))
    return full * (0.5 + random.random() / 2)
