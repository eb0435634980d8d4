"""What the outcome of one delivery attempt means, and when the next one is due.

The status line is the receiver's answer; the rest goes into the delivery log only. A 2xx whose body breaks
off or never ends is delivered, because the receiver has accepted the webhook and must not get it again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from random import Random
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from imagequeue.domain.errors import ConfigurationError

DEFAULT_SCHEDULE: Final[tuple[float, ...]] = (
    0.0,
    5.0,
    30.0,
    120.0,
    600.0,
    1_800.0,
    7_200.0,
    18_000.0,
    36_000.0,
    50_400.0,
    72_000.0,
    86_400.0,
)
"""Seconds before each attempt, counted from the one before: twelve attempts over about 76 hours."""

MOST_JITTER: Final = 0.2
"""Share of a delay that may be added to it, so that the retries of many deliveries spread."""

LONGEST_HINT: Final = timedelta(hours=6)
"""The most that a receiver's `Retry-After` can ask for: it must not put a delivery off for ever."""

_GRACE: Final = timedelta(hours=24)
"""What pauses, and a breaker that is open, may add to a schedule until the age limit."""

MOST_BLOCKED_ATTEMPTS: Final = 3
"""Attempts that the egress guard blocks until the delivery is dead: a wrong DNS record may be put right."""
BLOCKED: Final = "blocked_destination"
REDIRECTED: Final = "redirect_not_followed"

_GONE: Final = 410
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_COUNTED_CLIENT_ERRORS: Final = frozenset({408, 425})
_SECONDS: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?", re.ASCII)
_LONGEST_DELAY: Final = 30 * 86_400.0  # seconds; no outage of a receiver is waited for longer
_MOST_ATTEMPTS: Final = 100  # each is a row of the delivery log
_MOST_EXCERPT: Final = 4096  # characters of an answer's body that a row of the delivery log holds
_ESCAPED: Final = re.compile(r"[^\x20-\x7e\n\t]|\\")


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One attempt of a delivery, to be signed: `timestamp` is aware, `secrets` are those of the account."""

    webhook_id: str
    account_id: UUID
    timestamp: datetime
    body: bytes
    secrets: Sequence[str]


class Action(StrEnum):
    """What becomes of the delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"  # unless the schedule has no further attempt (`next_attempt_at`): then it is dead
    DEAD = "dead"


class TargetHealth(StrEnum):
    """What the attempt says about the target's health."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What one attempt means.

    `reason` is what the delivery log shows: `http_<code>`, `redirect_not_followed` or an egress code.
    `pause_until`: the target asked for no attempt before then, so the delivery's next one is not before.
    """

    action: Action
    target_health: TargetHealth
    reason: str
    pause_until: datetime | None = None


ENDPOINT_DELETED: Final = DeliveryOutcome(Action.DEAD, TargetHealth.NEUTRAL, "endpoint_deleted")
"""Nothing is sent to an endpoint that its account has deleted."""


def parse_schedule(text: str) -> tuple[float, ...]:
    """Read `IMAGEQUEUE_WEBHOOK_SCHEDULE`: comma-separated seconds before each attempt; empty: the default.

    Raises:
        ConfigurationError: an entry is not a number of seconds from 0 to 30 days, or there are over 100.
    """
    if not text.strip():
        return DEFAULT_SCHEDULE
    schedule = tuple(_parse_delay(entry.strip()) for entry in text.split(","))
    if len(schedule) > _MOST_ATTEMPTS:
        raise ConfigurationError(f"IMAGEQUEUE_WEBHOOK_SCHEDULE: more than {_MOST_ATTEMPTS} attempts")
    return schedule


def longest(schedule: Sequence[float]) -> timedelta:
    """The most time until the last attempt of a schedule; the hints of a receiver may add to it."""
    return timedelta(seconds=sum(schedule) * (1.0 + MOST_JITTER))


def age_limit(schedule: Sequence[float]) -> timedelta:
    """How long after its event a delivery is dead, whatever attempts are left of its schedule."""
    return longest(schedule) + _GRACE


def next_attempt_at(
    schedule: Sequence[float],
    attempts_made: int,
    now: datetime,
    *,
    jitter: float,
    pause_until: datetime | None = None,
) -> datetime | None:
    """Return when the next attempt is due; None when `attempts_made` have used up the schedule.

    `jitter` is a random number from 0 to 1 and adds at most `MOST_JITTER` of the delay; the first attempt of
    a schedule that starts at once gets none. The later of the schedule and `pause_until` counts.
    """
    if attempts_made >= len(schedule):
        return None
    share = 1.0 + MOST_JITTER * min(max(jitter, 0.0), 1.0)
    due = now + timedelta(seconds=schedule[attempts_made] * share)
    return due if pause_until is None else max(due, pause_until)


def first_attempt_at(schedule: Sequence[float], now: datetime, random: Random) -> datetime:
    """When the first attempt of an event that happens `now` is due."""
    return next_attempt_at(schedule, 0, now, jitter=random.random()) or now


def target_of(url: str) -> str:
    """Scheme, host and port of a URL that the egress guard accepted (docs/design/webhooks.md, "Target")."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def judge_status(status: int, retry_after: str | None, now: datetime) -> DeliveryOutcome:
    """Say what an answer with `status` means; `retry_after` is its header of that name."""
    reason = f"http_{status}"
    if 200 <= status < 300:  # noqa: PLR2004 -- the 2xx class
        return DeliveryOutcome(Action.DELIVERED, TargetHealth.SUCCESS, reason)
    if status == _GONE:
        return DeliveryOutcome(Action.DEAD, TargetHealth.NEUTRAL, reason)
    if 300 <= status < 400:  # noqa: PLR2004 -- the 3xx class
        return DeliveryOutcome(Action.RETRY, TargetHealth.NEUTRAL, REDIRECTED)
    if status in (_TOO_MANY, _UNAVAILABLE):
        return _judge_overload(status, parse_retry_after(retry_after, now))
    origin_is_up = 400 <= status < 500 and status not in _COUNTED_CLIENT_ERRORS  # noqa: PLR2004 -- the 4xx class
    return DeliveryOutcome(
        Action.RETRY, TargetHealth.NEUTRAL if origin_is_up else TargetHealth.FAILURE, reason
    )


def judge_failure(code: str, blocked_before: int = 0) -> DeliveryOutcome:
    """Say what an attempt without an answer means; `code` is the egress error's.

    `blocked_before` counts the delivery's earlier attempts that the guard blocked.
    """
    if code != BLOCKED:
        return DeliveryOutcome(Action.RETRY, TargetHealth.FAILURE, code)
    exhausted = blocked_before + 1 >= MOST_BLOCKED_ATTEMPTS
    return DeliveryOutcome(Action.DEAD if exhausted else Action.RETRY, TargetHealth.NEUTRAL, code)


def parse_retry_after(value: str | None, now: datetime) -> datetime | None:
    """Return the instant that a `Retry-After` header asks to wait for, at most `LONGEST_HINT` from `now`.

    Seconds, also with a fraction, or an HTTP date (RFC 9110, section 10.2.3). None for a hint that says
    nothing: absent, zero, negative, in the past, NaN, or garbage.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        wait = timedelta(seconds=min(float(text), LONGEST_HINT.total_seconds()))
    else:
        moment = _parse_date(text)
        if moment is None:
            return None
        wait = min(moment - now, LONGEST_HINT)
    return now + wait if wait > timedelta(0) else None


def excerpt(body: bytes) -> str:
    """Return the first bytes of an answer as text that is harmless in a database, a log and a terminal.

    Printable ASCII, line feeds and tabs stand as they are; every other byte, and the backslash, is escaped.
    At most `_MOST_EXCERPT` characters.
    """
    text = body[:_MOST_EXCERPT].decode("latin-1")
    return _ESCAPED.sub(lambda match: _escape(match.group()), text)[:_MOST_EXCERPT]


def _judge_overload(status: int, pause_until: datetime | None) -> DeliveryOutcome:
    """A 503 with a hint is an announced pause; any other 503, and every 429, is a failure of the target."""
    announced = status == _UNAVAILABLE and pause_until is not None
    return DeliveryOutcome(
        Action.RETRY,
        TargetHealth.NEUTRAL if announced else TargetHealth.FAILURE,
        f"http_{status}",
        pause_until,
    )


def _parse_delay(entry: str) -> float:
    try:
        seconds = float(entry)
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds <= _LONGEST_DELAY:
        raise ConfigurationError(f"IMAGEQUEUE_WEBHOOK_SCHEDULE: {entry!r} is not seconds from 0 to 30 days")
    return seconds


def _parse_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _escape(character: str) -> str:
    return "\\\\" if character == "\\" else f"\\x{ord(character):02x}"
