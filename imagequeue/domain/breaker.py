"""The circuit breaker of a deployment (docs/design/rate-limiting.md, "The breaker of a deployment").

    CLOSED     calls go through; failures in a row are counted
    OPEN       no calls for a while: after five failures in a row, or at once when misconfigured
    HALF_OPEN  one call at a time, as a probe: a success closes, a failure opens for longer

Only a success closes an open breaker: a probe that hangs does not prove that a wrong key was put right. A
misconfiguration that follows an outage is a new fault, so its failures are counted from one.

A success resets all counts. A call that was refused by policy, throttled, or lost with one of our own
processes says nothing about the deployment.

What fails may be the request and not the deployment. So a request that fails again and again counts once, and
while other accounts are served, one account's requests count for at most half of what opens the breaker
(`count_against`). A call that found no connection counts whoever made it: no request has been read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from uuid import UUID

from imagequeue.domain.backoff import MISCONFIGURED_DEPLOYMENT, OPEN_BREAKER

FAILURES = 5
"""Failures in a row that open the breaker: fewer may be chance."""

REFUSALS = 10
"""Refusals in a row, of different requests and none by policy, after which the deployment must be wrong."""

SERVED_SECONDS = 900.0
"""Who was served so lately shall not lose the deployment by another account's requests. It is as long as a
breaker may stay open, so what one account sends cannot keep the others out again and again."""

_KEPT_OF_AN_ACCOUNT, _KEPT = REFUSALS, 64
"""How many failed calls are remembered of one account, and in all: more of them change no decision."""


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A failed call as evidence against a deployment: whose it was, and a hash of what it asked for.

    `account_id` is None if it does not matter whose call it was, because the request was not read.
    """

    account_id: UUID | None
    request: int


def remember(known: tuple[FailedCall, ...], call: FailedCall) -> tuple[FailedCall, ...]:
    """The failed calls in a row with one more, each request once."""
    of_account = sum(one.account_id == call.account_id for one in known)
    full = len(known) >= _KEPT or of_account >= _KEPT_OF_AN_ACCOUNT
    return known if full or call in known else (*known, call)


def count_against(calls: Collection[FailedCall], most: int, others_are_served: Callable[[UUID], bool]) -> int:
    """How many of the calls count against the deployment; never more than the `most` that open its breaker.

    What is known beyond that does not lengthen the first cooldown: the calls may all be of one account.
    `others_are_served` says whether the deployment served an account other than the given one within
    `SERVED_SECONDS`. It is asked only if the answer can make a difference.
    """
    by_account = Counter(call.account_id for call in calls)
    unread = by_account.pop(None, 0)
    share, total = (most + 1) // 2, unread + by_account.total()
    shared = unread + sum(min(count, share) for count in by_account.values())
    if total < most or shared >= most:
        return min(total, most)
    ((busiest, _),) = by_account.most_common(1)
    return shared if busiest and others_are_served(busiest) else most


def lone_account(calls: Collection[FailedCall]) -> UUID | None:
    """The account whose calls alone are all the evidence, if there is one."""
    accounts = {call.account_id for call in calls}
    return accounts.pop() if len(accounts) == 1 else None


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
