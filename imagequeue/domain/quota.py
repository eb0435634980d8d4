"""The grant: when may the next calls of a quota group start (docs/design/rate-limiting.md, "The rule").

A group owns R tokens. A token taken for a call returns W + G after that call's request body was fully
sent, where W is the upstream's window and G the guard that pays for jitter on the way there. Between two
calls that use the same token lie at least W + G at our side, hence at least W at theirs as long as the way
there differs by no more than G: no window of theirs ever sees R + 1 calls. Nothing else is needed, so
nothing else limits; pacing only spreads the starts.

Times are seconds on the database's clock, and nobody else's.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

LEASE_SLACK = 2.0
"""Seconds that a call may start late. An unsent token returns that much later, so lateness is paid for."""

HORIZON = 1.0
"""Seconds ahead that starts are granted: enough to hide the way through Celery."""


@dataclass(frozen=True, slots=True)
class Quota:
    """R calls in any window of W seconds, with a guard of G seconds."""

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
        """Calls per second, when every token is always used."""
        return self.rpm / self.cycle


@dataclass(frozen=True, slots=True)
class GroupState:
    """What the database knows about a group at `now`.

    Of n tokens that are out the n - R + 1 earliest returns open the next start, and each later return one
    more. So `free` is R - n, or 0, and `returns` begins at the return that opens a start when none is free;
    it is ascending, and need not be longer than the number of starts that are asked for.
    `probing` says that the group is out of quota: one call may try it.
    """

    now: float
    free: int
    returns: Sequence[float] = ()
    last_slot: float | None = None
    blocked_until: float | None = None
    probing: bool = False


def grant(quota: Quota, state: GroupState, want: int, horizon: float = HORIZON) -> list[float]:
    """The starts of up to `want` more calls, none later than `horizon` seconds from now."""
    opens, last, slots = list(state.returns), state.last_slot, list[float]()
    while len(slots) < (min(want, 1) if state.probing else want):
        slot = _earliest(quota, state, opens, last, len(slots))
        if slot > state.now + horizon:
            break
        insort(opens, slot + quota.cycle + LEASE_SLACK)
        last = slot if last is None else max(last, slot)
        slots.append(slot)
    return slots


def next_start(quota: Quota, state: GroupState) -> float:
    """When the next call may start."""
    return _earliest(quota, state, state.returns, state.last_slot, 0)


def _earliest(
    quota: Quota, state: GroupState, opens: Sequence[float], last: float | None, taken: int
) -> float:
    slot = state.now if taken < state.free else max(state.now, opens[taken - state.free])
    if state.blocked_until is not None:
        slot = max(slot, state.blocked_until)
    if last is not None and (quota.pace or _recovers(quota, state, last)):
        slot = max(slot, last + quota.spacing)
    return slot


def _recovers(quota: Quota, state: GroupState, last: float) -> bool:
    """For a window after a block one token goes, then the others spaced: what blocked us may be near."""
    return state.blocked_until is not None and (
        state.now < state.blocked_until + quota.window and last >= state.blocked_until
    )
