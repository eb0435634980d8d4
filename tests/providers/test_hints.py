"""When an upstream says to come back: every form seen in the field, and what cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.upstream import Throttled, UpstreamError
from imagequeue.providers.hints import retry_after_seconds
from imagequeue.providers.registry import PROVIDERS
from tests.providers.recordings import response

DATE = "Sat, 21 Nov 2026 07:00:00 GMT"
EPOCH = 1_795_244_400
"""DATE in seconds since 1970."""


def hint(headers: dict[str, str] | None = None, body: Any = None) -> float | None:
    return retry_after_seconds(response(429, json.dumps(body).encode(), {"date": DATE, **(headers or {})}))


RETRY_AFTER = {
    "20": 20.0,
    "7.5": 7.5,
    "0": 0.0,
    '"20"': 20.0,
    "8s": 8.0,
    "1m30s": 90.0,
    "500ms": 0.5,
    "1h": 3600.0,
    "2 minutes": 120.0,
    "1 minute 20 seconds": 80.0,
    "PT1M30S": 90.0,
    "00:01:30": 90.0,
    "120, 120": 120.0,
    "Sat, 21 Nov 2026 07:01:00 GMT": 60.0,
    "Saturday, 21-Nov-26 07:01:00 GMT": 60.0,
    "Sat Nov 21 07:01:00 2026": 60.0,
    "Sat, 21 Nov 2026 08:01:00 +0100": 60.0,
    "2026-11-21T07:01:00Z": 60.0,
    "2026-11-21T07:01:00.5+00:00": 60.5,
    "Sat, 21 Nov 2026 06:00:00 GMT": 0.0,
    str(EPOCH + 60): 60.0,
    str((EPOCH + 60) * 1000): 60.0,
}
UNREADABLE = [
    *(
        "",
        " ",
        "soon",
        "-3",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "9" * 400,
        "1e-400x",
        "s",
        "ms",
        "PT",
        "::",
        ";,",
    ),
    *("Sat, 21 Nov 2026 07:01:00 +9999", "Sat, 21 Nov 2026 07:01:00 +99999999999999", "32 Foo 2026 99:99:99"),
    *("Fri, 31 Dec 9999 23:59:59 -2359", "9999-12-31T23:59:59-23:59"),
    *("1e30", str(10**18) + "s", "99999999999999h", "\x00", "20" * 60),
]


@pytest.mark.parametrize("text", RETRY_AFTER)
def test_every_form_of_retry_after_is_read(text: str) -> None:
    assert hint({"retry-after": text}) == pytest.approx(RETRY_AFTER[text])  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@pytest.mark.parametrize("text", UNREADABLE, ids=repr)
def test_an_unreadable_hint_is_a_429_without_one(name: str, text: str) -> None:
    for header in ("retry-after", "retry-after-ms", "x-ratelimit-reset", "date"):
        headers = {header: text.encode("utf-8", "replace").decode("latin-1")}
        with pytest.raises(Throttled) as raised:
            PROVIDERS[name].parse(response(429, b"{}", headers), 1)
        assert raised.value.retry_after in (None, 0.5, 120.0) or header == "retry-after-ms"


@pytest.mark.parametrize("text", UNREADABLE, ids=repr)
def test_an_unreadable_retry_after_says_nothing(text: str) -> None:
    assert hint({"retry-after": text.encode("utf-8", "replace").decode("latin-1")}) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "9000", "retry-after": "7"}, 9.0),
        ({"retry-after": "7", "x-ratelimit-reset": "50"}, 7.0),
        ({"x-ratelimit-reset": "50"}, 50.0),
        ({"X-RateLimit-Reset": str(EPOCH + 30)}, 30.0),
        ({"X-RateLimit-Reset": str((EPOCH + 30) * 1000)}, 30.0),
        ({"X-RateLimit-Reset": str(EPOCH - 30)}, 0.0),
        ({"RateLimit-Reset": "12"}, 12.0),
        ({"RateLimit-Reset": "12;w=60"}, 12.0),
        ({"x-ratelimit-reset-after": "1.5"}, 1.5),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "8s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-reset-requests": "8s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "149984",
            },
            8.0,
        ),
        ({}, None),
    ],
)
def test_relatives_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert hint(headers) == (seconds if seconds is None else pytest.approx(seconds))  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"retry_after": 7}, 7.0),
        ({"retry_after": "8s"}, 8.0),
        ({"retryAfter": 7.5}, 7.5),
        ({"error": {"retry_after": 7}}, 7.0),
        ({"error": {"retry_after_ms": 700}}, 0.7),
        ({"error": {"metadata": {"headers": {"Retry-After": "9"}}}}, 9.0),
        ({"error": {"metadata": {"headers": {"X-RateLimit-Reset": (EPOCH + 40) * 1000}}}}, 40.0),
        ({"error": {"details": [{"@type": "type.googleapis.com/RetryInfo", "retryDelay": "34s"}]}}, 34.0),
        ({"error": {"message": "Limit 3, used 3. Please try again in 12s. Visit us."}}, 12.0),
        ({"error": {"message": "Please retry after 20 seconds."}}, 20.0),
        ({"error": {"message": "Try again in 1m30s"}}, 90.0),
        ({"error": "Too Many Requests", "message": "Slow down: retry in 500ms"}, 0.5),
        ({"detail": "Request was throttled. Expected available in 43 seconds."}, 43.0),
        ({"error": {"message": "Draw 3 dogs, and again 3 dogs"}}, None),
        ({"error": {"retry_after": True}}, None),
        ({"error": {"retry_after": 10**4200}}, None),
        ({"error": {"retry_after": -1, "message": None}}, None),
        ([{"retry_after": 7}], None),
    ],
)
def test_hints_in_the_body(body: Any, seconds: float | None) -> None:
    assert hint(body=body) == (seconds if seconds is None else pytest.approx(seconds))  # pyright: ignore[reportUnknownMemberType]


def test_a_header_about_this_request_comes_before_the_words_of_the_message() -> None:
    assert hint({"retry-after": "5"}, {"error": {"message": "try again in 12s"}}) == 5.0


def test_a_date_without_the_answers_own_date_counts_from_now() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    assert 0 < (retry_after_seconds(response(429, b"", {"retry-after": moment})) or 0) <= 50


def test_an_error_inside_a_success_has_hints_too() -> None:
    body = {"error": {"code": 429, "message": "Rate limited", "metadata": {"headers": {"Retry-After": "9"}}}}
    for name in sorted(PROVIDERS):
        with pytest.raises(Throttled) as raised:
            PROVIDERS[name].parse(response(200, json.dumps(body).encode()), 1)
        assert raised.value.retry_after == 9.0


@settings(deadline=None)  # other work on the machine is not a fault
@given(
    st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "ratelimit-reset"]),
    st.text(max_size=60) | st.from_regex(r"[0-9a-zA-Z:,. +-]{0,40}", fullmatch=True),
    st.text(max_size=200),
)
def test_no_hint_makes_a_parser_stumble(header: str, text: str, message: str) -> None:
    value = text.encode("utf-8", "replace").decode("latin-1")
    body = json.dumps({"error": {"message": message, "retry_after": text}}).encode()
    with pytest.raises(UpstreamError) as raised:
        PROVIDERS["openai"].parse(response(429, body, {"retry-after": "7", header: value}), 1)
    error = raised.value
    assert isinstance(error, Throttled)
    assert error.retry_after is None or 0.5 <= error.retry_after <= 120
