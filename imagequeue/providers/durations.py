"""Durations and moments in the forms in which upstreams say when to come back.

A number (`20`, `7.5`), a number with units (`8s`, `500ms`, `1m30s`, `6m0s`, `2 minutes`, `PT1M30S`), a clock
(`00:01:30`), a moment (the three HTTP dates, ISO 8601, seconds or smaller units since 1970). Nothing here
raises: what cannot be read is None.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_LONGEST_TEXT = 100
"""Characters of a hint. No form is longer, and reading a text takes time with its length."""
_LONGEST_SECONDS = 366 * 86400.0
"""A year: no limit is known to last longer, so a longer hint is a mistake, and says nothing."""
_WORDS_LENGTH = 2_000
"""Characters of a message in which a hint is looked for."""
_UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?)"
_NAME = r"(milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
_PART = rf"{_NUMBER}\s*{_NAME}"
_PARTS = re.compile(_PART, re.IGNORECASE)
_DURATION = re.compile(rf"(?:p?t?{_PART}[\s,]*t?)+", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,9})?)")
_IN_WORDS = re.compile(
    rf"(?:try again|retry|wait|available|reset\w*)\W+(?:\w+\W+){{0,3}}?((?:{_PART}[\s,]*(?:and\s+)?)+)",
    re.IGNORECASE,
)
_EPOCH_UNITS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e9, 1.0))
"""From which number on it is a time since 1970, and in which unit, in seconds.

1e9 seconds are 31 years, too long to wait. Milliseconds since 1970 passed 1e11 in 1973, microseconds 1e14
and nanoseconds 1e17 in the same year.
"""


def read_hint(value: Any, unit: float, now: datetime | None) -> float | None:
    """Seconds to wait by a hint; None when it says nothing. A moment that has passed is 0.

    `unit` is seconds for each unit of a bare number. `now` is the answer's own time, because the upstream's
    clock may differ from ours; None is our clock's.
    """
    if isinstance(value, str):
        text = value.strip().strip("\"'").strip()
        parts = (text, *re.split("[;,]", text)) if len(text) <= _LONGEST_TEXT else ()
        hint = next((read for part in parts if (read := _read_text(part, unit, now)) is not None), None)
    else:
        hint = _relative(from_number(value), unit, now)
    return hint if hint is not None and hint <= _LONGEST_SECONDS else None


def from_number(value: Any) -> float | None:
    """A number of JSON, or the text of one; None below 0, without end, or when it is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value[:_LONGEST_TEXT] if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def seconds_in_words(text: str) -> float | None:
    """The seconds of "try again in 12s" or "retry after 1 minute 20 seconds"; None without such words."""
    found = _IN_WORDS.search(text[:_WORDS_LENGTH])
    return _duration(found.group(1)) if found else None


def read_date(text: str) -> datetime | None:
    """The moment that an HTTP date of any of its three forms, or ISO 8601, names, in UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text[:_LONGEST_TEXT])
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (TypeError, ValueError, OverflowError, IndexError):
            continue  # no date of this form, or one outside of the years that Python knows
    return None


def _read_text(text: str, unit: float, now: datetime | None) -> float | None:
    number = from_number(text)
    if number is not None:
        return _relative(number, unit, now)
    if _DURATION.fullmatch(text.strip()):
        return _duration(text)
    clock = _CLOCK.fullmatch(text.strip())
    if clock:
        hours, minutes, seconds = clock.groups()
        return int(hours) * 3600.0 + int(minutes) * 60.0 + float(seconds)
    moment = read_date(text)
    return None if moment is None else max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _relative(number: float | None, unit: float, now: datetime | None) -> float | None:
    """Seconds from now. A number that is too large to be a duration is a moment."""
    if number is None:
        return None
    for smallest, epoch_unit in _EPOCH_UNITS:
        if number >= smallest:
            return max(0.0, number * epoch_unit - (now or datetime.now(UTC)).timestamp())
    return number * unit


def _duration(text: str) -> float:
    return sum(float(number) * _UNIT_SECONDS[_unit(name)] for number, name in _PARTS.findall(text))


def _unit(name: str) -> str:
    name = name.casefold()
    return "ms" if name.startswith(("ms", "milli")) else name[0]
