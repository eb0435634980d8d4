"""When to come back: the hints of a 429 (docs/design/protocols.md, "Hints of a 429").

Hints come in three qualities: what is said about this request (`Retry-After` and its relatives, in a header
or in the body), when a limit is full again (`X-RateLimit-Reset` and its relatives), and the words of the
message. The first quality that has a hint decides, and of its hints the largest. What cannot be read is no
hint, whatever it is: nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import httpx

from imagequeue.domain.upstream import Unavailable
from imagequeue.providers.durations import from_number, read_date, read_hint, seconds_in_words
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.values import items, mapping

LONGEST_SECONDS = 120.0
"""A longer hint means that a quota is used up: a window is usually a minute."""
SHORTEST_SECONDS = 0.5
"""A shorter hint is raised to this: an upstream that says 0 has just refused a call."""

_UNITS = {
    "retry-after": 1.0,
    "x-retry-after": 1.0,
    "retry-after-ms": 1e-3,
    "x-ms-retry-after-ms": 1e-3,
    "x-retry-after-ms": 1e-3,
    "retry_after": 1.0,
    "retryafter": 1.0,
    "retry_after_seconds": 1.0,
    "retryafterseconds": 1.0,
    "retry_after_ms": 1e-3,
    "retryafterms": 1e-3,
    "retrydelay": 1.0,
}
"""Seconds in one unit of each name, in lower case: of headers, and of fields in a body."""
_RESETS = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset", "x-ratelimit-reset-after")
"""Headers that say when the one limit is full again."""
_RESETS_OF_LIMITS = {
    "x-ratelimit-reset-requests": "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-tokens": "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-images": "x-ratelimit-remaining-images",
}
"""The same for one of several limits, and the header that says whether that one is used up."""


def retry_after_seconds(response: UpstreamResponse) -> float | None:
    """The hint of an answer in seconds, as given (not clamped); None without one that can be read."""
    now = read_date(response.headers.get("date") or "")
    places = [_fields(response.headers), *_places(response)]
    for hints in (_explicit(places, now), _resets(places, now), _words(places)):
        largest = max(hints, default=None)
        if largest is not None:
            return largest
    return None


def clamped(seconds: float | None) -> float | None:
    """The hint, raised or lowered to the bounds above."""
    return None if seconds is None else min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)


def _fields(headers: httpx.Headers | Mapping[str, Any]) -> dict[str, Any]:
    return {name.casefold(): value for name, value in headers.items()}


def _places(response: UpstreamResponse) -> Iterator[dict[str, Any]]:
    """Every object of an error body that may hold a hint: OpenRouter repeats headers in `error.metadata`."""
    try:
        body = mapping(response.json())
    except Unavailable:
        return
    error = mapping(body.get("error"))
    metadata = mapping(error.get("metadata"))
    details = map(mapping, items(error.get("details")))
    for place in (body, error, metadata, mapping(metadata.get("headers")), *details):
        yield _fields(place)


def _explicit(places: list[dict[str, Any]], now: datetime | None) -> list[float]:
    named = ((place.get(name), unit) for place in places for name, unit in _UNITS.items())
    return [hint for value, unit in named if (hint := read_hint(value, unit, now)) is not None]


def _resets(places: list[dict[str, Any]], now: datetime | None) -> list[float]:
    """When the limits are full again; one that is not used up says nothing about this 429."""
    values = [place.get(name) for place in places for name in _RESETS]
    for place in places:
        for reset, remaining in _RESETS_OF_LIMITS.items():
            left = from_number(place.get(remaining))
            values += [] if left else [place.get(reset)]
    return [hint for value in values if (hint := read_hint(value, 1.0, now)) is not None]


def _words(places: list[dict[str, Any]]) -> list[float]:
    texts = [place.get(name) for place in places for name in ("message", "detail", "error")]
    found = (seconds_in_words(text) for text in texts if isinstance(text, str))
    return [hint for hint in found if hint is not None]
