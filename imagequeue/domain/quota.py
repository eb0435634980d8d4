"""The grant: when may the next calls of a quota group start (rate-limiting.md, "The rule").

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


@dataclass(frozen=True, slots=True)
class GroupState:
    """What the database knows about a group while its row is locked, in seconds."""

    now: float
    returns: Sequence[float]  # when each token that is out returns; any order
    last_slot: float | None = None
    blocked_until: float | None = None


def grant(quota: Quota, state: GroupState, want: int, horizon: float = HORIZON) -> list[float]:
    """The starts of up to `want` more calls, none later than `horizon` seconds from now."""
    returns = sorted(moment for moment in state.returns if moment > state.now)
    last, slots = state.last_slot, list[float]()
    while len(slots) < want:
        slot = _earliest(quota, state, returns, last)
        if slot > state.now + horizon:
            break
        insort(returns, slot + quota.cycle + LEASE_SLACK)
        last = slot if last is None else max(last, slot)
        slots.append(slot)
    return slots


def next_start(quota: Quota, state: GroupState) -> float:
    """When the next call may start."""
    returns = sorted(moment for moment in state.returns if moment > state.now)
    return _earliest(quota, state, returns, state.last_slot)


def _earliest(quota: Quota, state: GroupState, returns: Sequence[float], last: float | None) -> float:
    out = len(returns)
    slot = state.now if out < quota.rpm else returns[out - quota.rpm]
    if state.blocked_until is not None:
        slot = max(slot, state.blocked_until)
    if last is not None and (quota.pace or _recovers(quota, state)):
        slot = max(slot, last + quota.spacing)
    return slot


def _recovers(quota: Quota, state: GroupState) -> bool:
    """For a window after a block the tokens go out one by one: what blocked us may still be near."""
    return state.blocked_until is not None and state.now < state.blocked_until + quota.window
