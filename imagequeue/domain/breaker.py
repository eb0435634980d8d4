"""The circuit breaker of a deployment (docs/design/rate-limiting.md, "The breaker of a deployment").

    CLOSED     calls go through; failures in a row are counted
    OPEN       no calls until `opens again`: after five failures in a row, or at once when misconfigured
    HALF_OPEN  one call at a time, as a probe: a success closes, a failure opens for longer

While it is open, only a success closes it: a key that was refused is not mended because the next probe hangs.
A misconfiguration is another trouble than the outage it may come after, so its failures are counted from one.

A success forgets everything. What was refused by policy, throttled, or lost with one of our own processes
says nothing about the deployment.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random

from imagequeue.domain.backoff import exponential

FAILURES = 5
"""Failures in a row that open the breaker."""

REFUSALS = 10
"""Refusals of different prompts in a row, none by policy: it is the deployment that is wrong."""

FIRST_SECONDS, LONGEST_SECONDS = 30.0, 900.0
MISCONFIGURED_SECONDS = 60.0


class Breaker(StrEnum):
    """What `imagequeue deployments` shows."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


def breaker(failures: int, blocked_for: float, *, misconfigured: bool) -> Breaker:
    """The state after so many failures in a row, with so many seconds until the next probe."""
    if not misconfigured and failures < FAILURES:
        return Breaker.CLOSED
    return Breaker.OPEN if blocked_for > 0 else Breaker.HALF_OPEN


def cooldown_after(failures: int, random: Random, *, misconfigured: bool) -> float:
    """Seconds until the next probe after so many failures in a row; 0: the breaker stays closed."""
    if misconfigured:
        return exponential(failures, base=MISCONFIGURED_SECONDS, cap=LONGEST_SECONDS, random=random)
    if failures < FAILURES:
        return 0.0
    return exponential(failures - FAILURES + 1, base=FIRST_SECONDS, cap=LONGEST_SECONDS, random=random)
