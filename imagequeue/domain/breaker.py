"""The circuit breaker of a deployment (docs/design/rate-limiting.md, "The breaker of a deployment").

    CLOSED     calls go through; failures in a row are counted
    OPEN       no calls for a while: after five failures in a row, or at once when misconfigured
    HALF_OPEN  one call at a time, as a probe: a success closes, a failure opens for longer

Only a success closes an open breaker: a probe that hangs does not prove that a wrong key was put right. A
misconfiguration that follows an outage is a new fault, so its failures are counted from one.

A success resets all counts. A call that was refused by policy, throttled, or lost with one of our own
processes says nothing about the deployment.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random

from imagequeue.domain.backoff import MISCONFIGURED_DEPLOYMENT, OPEN_BREAKER

FAILURES = 5
"""Failures in a row that open the breaker: fewer may be chance."""

REFUSALS = 10
"""Refusals in a row, of different prompts and none by policy, after which the deployment must be wrong."""


class Breaker(StrEnum):
    """The state of a breaker, as `imagequeue deployments` shows it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


def breaker(failures: int, blocked_for: float, *, misconfigured: bool) -> Breaker:
    """The state after `failures` in a row; `blocked_for` is the seconds until the next probe."""
    if not misconfigured and failures < FAILURES:
        return Breaker.CLOSED
    return Breaker.OPEN if blocked_for > 0 else Breaker.HALF_OPEN


def cooldown_after(failures: int, random: Random, *, misconfigured: bool) -> float:
    """Seconds until the next probe after `failures` in a row; 0: the breaker stays closed."""
    if misconfigured:
        return MISCONFIGURED_DEPLOYMENT.wait_seconds(failures, random)
    if failures < FAILURES:
        return 0.0
    return OPEN_BREAKER.wait_seconds(failures - FAILURES + 1, random)
