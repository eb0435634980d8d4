"""How long to wait before the next try."""

from __future__ import annotations

from random import Random


def exponential(failures: int, *, base: float, cap: float, random: Random) -> float:
    """Seconds: `base` doubled by every failure up to `cap`, of which the upper half is jittered."""
    full = min(cap, base * 2 ** max(0, min(failures - 1, 30)))
    return full * (0.5 + random.random() / 2)
