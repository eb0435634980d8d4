"""What a 429 says about its quota group (docs/design/rate-limiting.md, "What upstreams say back").

A 429 pauses the group (`pause_after`). Calls that were on their way when it came may be answered by 429s as
well. Those are echoes: they report the same moment, so they neither double a pause nor count as drift, but
their hints are believed.

The grant keeps our own calls within the quota. So a 429 usually means that the quota is not what the catalog
says: another program uses it, the way there jitters by more than the guard, or the upstream counts in another
way. Such a 429 is a drift. It widens the group's guard, and a second one soon after also lowers its effective
R; both return in steps while no further drift comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from imagequeue.domain.backoff import EXHAUSTED_GROUP, THROTTLED_GROUP

SHORTEST, LONGEST = 0.5, 120.0
"""Seconds. A shorter hint is raised to the first; one above the second means that the quota is used up."""

GUARD_STEP, GUARD_CAP = 0.1, 2.0
"""Seconds by which a drift widens the guard, and what the guard never exceeds."""
PAIR_WINDOWS, CLEAN_WINDOWS = 5, 10
"""Windows in which a second drift also lowers R, and windows without one after which a step is undone."""

ALONE = 2
"""429s of one job, each followed by another job's success, after which the next is the job's own trouble: one
may be chance where foreign traffic shares the quota."""

STEP_BACK_SECONDS = 1.0
"""A job that gets a 429 again waits so much longer than the pause: another one shall be the first call after
it. As long as starts are granted ahead."""


def is_alone(others_served: int) -> bool:
    """Whether a 429 is about its job, after so many of the job's 429s were each followed by a success."""
    return others_served >= ALONE


@dataclass(frozen=True, slots=True)
class GroupPause:
    """Grant nothing for `seconds`; with `out_of_quota` then only one call at a time, until one succeeds.

    `echo`: the 429 reports the same moment as the one before it.
    """

    seconds: float
    out_of_quota: bool = False
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a group is from its catalog entry; times are seconds on the database's clock.

    `extra_guard` is added to the catalog's guard. `drifted_at` is the last drift, unless it lowered R.
    `clean_since` is the last change of either.
    """

    effective_rpm: int
    extra_guard: float = 0.0
    drifted_at: float | None = None
    clean_since: float | None = None


def pause_after(
    hint: float | None, in_a_row: int, window: float, *, out_of_quota: bool = False, echo: bool = False
) -> GroupPause:
    """How long a group is paused after a 429.

    Args:
        hint: the largest that the upstream gave, in seconds.
        in_a_row: how many 429s without a hint came before, without a success since.
        window: W in seconds; without a hint a pause is never longer.
        out_of_quota: the upstream said that the quota is used up. That counts for an echo too.
        echo: the call was sent before the group's last 429 came.
    """
    if out_of_quota or (hint is not None and hint > LONGEST):
        return GroupPause(EXHAUSTED_GROUP.first_seconds, out_of_quota=True)
    if hint is not None:
        return GroupPause(max(SHORTEST, hint), echo=echo)
    return GroupPause(0.0 if echo else min(window, THROTTLED_GROUP.full_seconds(in_a_row + 1)), echo=echo)


def drifted(drift: Drift, *, rpm: int, guard: float, window: float, now: float) -> Drift:
    """After a 429 although our calls were fewer than R: a wider guard, and a lower R if it is the second."""
    extra = min(drift.extra_guard + GUARD_STEP, max(0.0, GUARD_CAP - guard))
    wider = replace(drift, extra_guard=extra, clean_since=now)
    if drift.drifted_at is None or now - drift.drifted_at > PAIR_WINDOWS * window:
        return replace(wider, drifted_at=now)
    smaller = max(1, drift.effective_rpm - max(1, rpm // 5))
    return replace(wider, drifted_at=None, effective_rpm=smaller)


def recovered(drift: Drift, *, rpm: int, window: float, now: float) -> Drift | None:
    """One step back to the catalog's entry for every ten windows without a drift; None for no step yet."""
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
