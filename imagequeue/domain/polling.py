"""How many polls may be in flight: they have places of their own, which deployments share.

A status route that hangs holds a place for as long as a poll may take. So polls take no worker slot of a
call, and one deployment never takes the places of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

LEAST_PLACES = 2
"""For each lane of a worker process: one deployment that hangs leaves a place to the others."""


def poll_places(slots: float) -> int:
    """Places for polls beside so many worker slots of a lane: half as many, because a poll is short."""
    return max(LEAST_PLACES, ceil(slots / 2)) if slots > 0 else 0


def new_polls(places: int, taken: Mapping[str, int], due: Mapping[str, int]) -> dict[str, int]:
    """How many polls may begin, by deployment; those with the fewest in flight come first.

    A deployment has at most half of the places, or an equal share where more than two have polls.

    Args:
        places: how many polls may be in flight in all.
        taken: the polls in flight, by deployment.
        due: the polls that could begin, by deployment.
    """
    asking = {name for counts in (taken, due) for name, count in counts.items() if count}
    most = max(1, places // max(2, len(asking)))
    left, granted = places - sum(taken.values()), dict[str, int]()
    for name in sorted(asking, key=lambda name: (taken.get(name, 0), name)):
        granted[name] = max(0, min(due.get(name, 0), most - taken.get(name, 0), left))
        left -= granted[name]
    return {name: count for name, count in granted.items() if count}
