"""When to come back: the hints of a 429 (docs/design/rate-limiting.md, "What upstreams say back")."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

LONGEST_SECONDS = 120.0
"""A longer hint means that a quota is used up: a window is usually a minute."""
SHORTEST_SECONDS = 0.5
"""A shorter hint is raised to this: an upstream that says 0 has just refused a call."""


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """The largest of the three hints in seconds, as given (not clamped); None without any."""
    hints = (
        _number(headers.get("retry-after-ms"), 1e-3),
        _number(headers.get("x-ms-retry-after-ms"), 1e-3),
        _number(headers.get("retry-after"), 1.0),
        _until(headers),
    )
    return max((hint for hint in hints if hint is not None), default=None)


def clamped(seconds: float | None) -> float | None:
    """The hint, raised or lowered to the bounds above."""
    return None if seconds is None else min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)


def _number(text: str | None, unit: float) -> float | None:
    try:
        value = float(text or "") * unit
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(headers: httpx.Headers) -> float | None:
    """Seconds until a Retry-After date, from the answer's own Date: the upstream's clock may differ."""
    moment = _date(headers.get("retry-after"))
    if moment is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds())


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
