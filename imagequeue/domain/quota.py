"""The grant: when the next calls of a quota group may start (docs/design/rate-limiting.md, "The rule").

A group has R tokens. The token of a call returns W + G after the call's request body was fully sent, where W
is the upstream's window and G the guard against jitter on the way there. So two calls with the same token are
at least W + G apart where they leave, and at least W apart where they arrive, if their ways differ by no more
than G. Hence no window of the upstream sees R + 1 calls. The rule is safe by itself; pacing spreads starts.

Times are seconds on the database's clock, because the clocks of the processes may differ.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

LEASE_SLACK = 2.0
"""Seconds that a call may start late. Until a call is sent its token is due back that much later, so that a
late start is within the quota as well."""

HORIZON = 1.0
"""Seconds: starts are granted so far ahead, which is time enough for the message to pass through Celery."""


@dataclass(frozen=True, slots=True)
class Quota:
    """R calls (`rpm`) in any window of W seconds, with a guard of G seconds."""

    rpm: int
    window: float
    guard: float
    pace: bool = True

    @property
    def cycle(self) -> float:
        """Seconds from the sending of a call to the return of its token."""
        return self.window + self.guard

    @property
    def spacing(self) -> float:
        """Seconds between two paced starts."""
        return self.cycle / self.rpm

    @property
    def rate(self) -> float:
        """Calls per second while every token is in use."""
        return self.rpm / self.cycle


@dataclass(frozen=True, slots=True)
class GroupState:
    """What the database knows about a group at `now`. Times are seconds.

    If n tokens are out, `free` is R - n, but at least 0, and `returns` has the times at which tokens return
    for the starts beyond the free ones, ascending: with n >= R it begins at the (n - R + 1)-th return. It
    need not be longer than the number of starts that are asked for. `last_start` was the last planned one.
    `probing` says that the group is out of quota: one call may try it.
    """

    now: float
    free: int
    returns: Sequence[float] = ()
    last_start: float | None = None
    blocked_until: float | None = None
    probing: bool = False


def grant(quota: Quota, state: GroupState, want: int, horizon: float = HORIZON) -> list[float]:
    """The starts of up to `want` more calls, none later than `horizon` seconds from now."""
    returns, last, starts = list(state.returns), state.last_start, list[float]()
    while len(starts) < (min(want, 1) if state.probing else want):
        start = _earliest(quota, state, returns, last, len(starts))
        if start > state.now + horizon:
            break
        insort(returns, start + quota.cycle + LEASE_SLACK)
        last = start if last is None else max(last, start)
        starts.append(start)
    return starts


def next_start(quota: Quota, state: GroupState) -> float:
    """When the next call may start."""
    return _earliest(quota, state, state.returns, state.last_start, 0)


def _earliest(
    quota: Quota, state: GroupState, returns: Sequence[float], last: float | None, taken: int
) -> float:
    start = state.now if taken < state.free else max(state.now, returns[taken - state.free])
    if state.blocked_until is not None:
        start = max(start, state.blocked_until)
    if last is not None and (quota.pace or _recovers(quota, state, last)):
        start = max(start, last + quota.spacing)
    return start


def _recovers(quota: Quota, state: GroupState, last: float) -> bool:
    """Whether starts are spaced although the group is not paced.

    In the window after a block it is so once a first call has gone: the upstream may still be at its limit.
    """
    return state.blocked_until is not None and (
        state.now < state.blocked_until + quota.window and last >= state.blocked_until
    )
