"""What a 429 says about its quota group (docs/design/rate-limiting.md, "What upstreams say back").

Calls that were on their way when a 429 came may be answered by one as well. Those are echoes: they tell of
the same moment, so they neither double a rest nor count for the drift; but a hint of theirs is believed.

Two things follow from it. The group rests for a while (`rest`). And since the grant keeps our own calls
within the quota, a 429 usually means that the quota is not what we think: somebody else uses it, the way
there jitters by more than the guard, or the upstream counts otherwise. Then the group drifts: its guard
grows, its effective R shrinks, and both come back step by step while nothing happens. The five and the ten
minutes of the rule are windows here, which is the same for a window of a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SHORTEST, LONGEST = 0.5, 120.0
"""Seconds between which a hint is believed; a longer one means that the quota is used up."""

PROBE_SECONDS = 900.0
"""How often a group that is out of quota is tried with one call."""

GUARD_STEP, GUARD_CAP = 0.1, 2.0
PAIR_WINDOWS, CLEAN_WINDOWS = 5, 10


@dataclass(frozen=True, slots=True)
class GroupPause:
    """Grant nothing for so many seconds; `out_of_quota`: then one call only, until one succeeds.

    `echo`: the 429 tells of the same moment as the one before it.
    """

    seconds: float
    out_of_quota: bool = False
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a group has moved away from its catalog entry; times in seconds on the database's clock.

    `drifted_at` is the last impossible 429 that made no R smaller yet, `clean_since` the last change.
    """

    effective_rpm: int
    extra_guard: float = 0.0
    drifted_at: float | None = None
    clean_since: float | None = None


def pause_after(
    hint: float | None, in_a_row: int, window: float, *, out_of_quota: bool = False, echo: bool = False
) -> GroupPause:
    """How long a group rests after a 429.

    Args:
        hint: the upstream's, in seconds, the largest that it gave.
        in_a_row: how many 429s without a hint came before, without a success since.
        window: W in seconds; without hints a rest is never longer.
        out_of_quota: the upstream said so in words.
        echo: the call was sent before the group's last 429 came. That the quota is used up is still news.
    """
    if out_of_quota or (hint is not None and hint > LONGEST):
        return GroupPause(PROBE_SECONDS, out_of_quota=True)
    if hint is not None:
        return GroupPause(max(SHORTEST, hint), echo=echo)
    return GroupPause(0.0 if echo else min(window, 2.0 ** min(in_a_row, 30)), echo=echo)


def drifted(drift: Drift, *, rpm: int, guard: float, window: float, now: float) -> Drift:
    """After an impossible 429: a wider guard, and a smaller R when it was the second of a pair."""
    extra = min(drift.extra_guard + GUARD_STEP, max(0.0, GUARD_CAP - guard))
    wider = replace(drift, extra_guard=extra, clean_since=now)
    if drift.drifted_at is None or now - drift.drifted_at > PAIR_WINDOWS * window:
        return replace(wider, drifted_at=now)
    smaller = max(1, drift.effective_rpm - max(1, rpm // 5))
    return replace(wider, drifted_at=None, effective_rpm=smaller)


def recovered(drift: Drift, *, rpm: int, window: float, now: float) -> Drift | None:
    """Steps back towards the catalog's entry, one for ten clean windows each; None: nothing changes yet."""
    if drift.clean_since is None or (drift.effective_rpm >= rpm and drift.extra_guard == 0):
        return None
    steps = int((now - drift.clean_since) // (CLEAN_WINDOWS * window))
    if steps <= 0:
        return None
    return Drift(
        effective_rpm=min(rpm, drift.effective_rpm + steps * max(1, rpm // 20)),
        extra_guard=max(0.0, round(drift.extra_guard - steps * GUARD_STEP, 6)),
        clean_since=drift.clean_since + steps * CLEAN_WINDOWS * window,
    )
