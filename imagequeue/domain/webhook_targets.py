"""What is known of a target of webhooks, and what each delivery attempt changes.

Source: docs/design/webhooks.md, "Target".

    closed     attempts go through, at most `limit` at a time
    open       no attempts for a while, after five failures in a row
    half-open  one delivery at a time, as a probe: a success closes, a failure opens for longer

A target that asked for a pause gets nothing before its end. The limit adapts, so that a slow or failing
target holds few worker slots and a quick one gets many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from imagequeue.domain.backoff import OPEN_TARGET
from imagequeue.domain.webhooks import DeliveryOutcome, TargetHealth

FAILURES: Final = 5
"""Counted failures in a row that open the breaker of a target: fewer may be chance."""

FIRST_LIMIT: Final = 4
"""Attempts in flight for a target of which nothing is known yet."""

MOST_LIMIT: Final = 16
"""Attempts in flight for a target, however quick it is."""

QUICK_SECONDS: Final = 1.0
"""A delivery that takes less lets the limit grow; a target that takes longer is in trouble."""

SLOW_SECONDS: Final = 5.0
"""An answer that takes longer halves the limit, although it is one."""

_NEWEST_SHARE: Final = 0.2
"""What the newest answer counts for in the smoothed latency: the last five decide most of it."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """A row of `webhook_targets`.

    `failures` counts in a row; `quick` counts quick deliveries in a row since the limit last changed.
    `latency_seconds` is the smoothed time of answers; None before the first. Until `open_until` and
    `paused_until` no attempt begins.
    """

    failures: int = 0
    quick: int = 0
    limit: int = FIRST_LIMIT
    latency_seconds: float | None = None
    open_until: datetime | None = None
    paused_until: datetime | None = None

    @property
    def half_open(self) -> bool:
        """Whether only one delivery at a time may be tried, once `open_until` is over."""
        return self.failures >= FAILURES

    @property
    def proven(self) -> bool:
        """Whether it has answered, and is not in trouble."""
        return self.latency_seconds is not None and not self.troubled

    @property
    def troubled(self) -> bool:
        """Whether it failed last or is slow, so that it must not take the worker slots of others."""
        return self.failures > 0 or (self.latency_seconds or 0.0) > QUICK_SECONDS


@dataclass(frozen=True, slots=True)
class AttemptEffect:
    """What one delivery attempt showed about its target, at `now`; `answered`: a status came."""

    outcome: DeliveryOutcome
    latency_seconds: float
    answered: bool
    now: datetime


def after_attempt(state: TargetState, effect: AttemptEffect, random: Random) -> TargetState:
    """The state of a target after one more attempt."""
    if effect.answered:
        state = _smoothed(state, effect.latency_seconds)
    state = replace(state, paused_until=_later(state.paused_until, effect.outcome.pause_until))
    match effect.outcome.target_health:
        case TargetHealth.SUCCESS:
            return _after_success(state, effect.latency_seconds)
        case TargetHealth.FAILURE:
            return _after_failure(state, effect.now, random)
        case TargetHealth.NEUTRAL:
            return _halved(state) if effect.latency_seconds > SLOW_SECONDS else replace(state, quick=0)


def is_news(before: TargetState, after: TargetState, effect: AttemptEffect) -> bool:
    """Whether the new state is worth a write: not where a target that works was quick once more.

    Its row would be locked by every attempt of a burst, and the dispatcher passes over rows that are locked.
    """
    if not before.proven or effect.latency_seconds >= QUICK_SECONDS:
        return True
    return replace(after, latency_seconds=None) != replace(before, latency_seconds=None)


def _smoothed(state: TargetState, seconds: float) -> TargetState:
    before = seconds if state.latency_seconds is None else state.latency_seconds
    return replace(state, latency_seconds=before + _NEWEST_SHARE * (seconds - before))


def _later(known: datetime | None, told: datetime | None) -> datetime | None:
    return max((one for one in (known, told) if one), default=None)


def _after_success(state: TargetState, seconds: float) -> TargetState:
    state = replace(state, failures=0, open_until=None)
    if seconds > SLOW_SECONDS:
        return _halved(state)
    quick = state.quick + 1 if seconds < QUICK_SECONDS and state.limit < MOST_LIMIT else 0
    if quick >= state.limit:
        return replace(state, quick=0, limit=min(MOST_LIMIT, state.limit + 1))
    return replace(state, quick=quick)


def _after_failure(state: TargetState, now: datetime, random: Random) -> TargetState:
    """Attempts that were in flight when the breaker opened are no probes, and do not open it for longer."""
    if state.open_until is not None and state.open_until > now:
        return _halved(state)
    state = _halved(replace(state, failures=state.failures + 1))
    if not state.half_open:
        return state
    cooldown = OPEN_TARGET.wait_seconds(state.failures - FAILURES + 1, random)
    return replace(state, open_until=now + timedelta(seconds=cooldown))


def _halved(state: TargetState) -> TargetState:
    return replace(state, quick=0, limit=max(1, state.limit // 2))
