"""Statuses, hints and error bodies, beyond what the recordings have."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.upstream import (
    Ambiguous,
    Misconfigured,
    Rejected,
    Throttled,
    Unavailable,
    UpstreamError,
)
from imagequeue.providers.answers import require_success
from imagequeue.providers.error_body import error_body_in
from imagequeue.providers.hints import retry_after_seconds
from imagequeue.providers.pictures import decoded
from imagequeue.providers.registry import PROVIDERS
from imagequeue.providers.values import usd
from tests.providers.recordings import response

STATUSES: dict[int, type[UpstreamError]] = {
    301: Unavailable,
    307: Unavailable,
    400: Rejected,
    401: Misconfigured,
    402: Misconfigured,
    403: Misconfigured,
    404: Misconfigured,
    405: Misconfigured,
    408: Ambiguous,
    413: Rejected,
    422: Rejected,
    429: Throttled,
    500: Unavailable,
    502: Ambiguous,
    503: Unavailable,
    504: Ambiguous,
    520: Ambiguous,
    524: Ambiguous,
    529: Unavailable,
}


def judged(status: int, body: Any = None, headers: dict[str, str] | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        require_success(response(status, json.dumps(body).encode(), headers))
    return raised.value


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_one_meaning(status: int) -> None:
    error = judged(status)
    assert type(error) is STATUSES[status]
    assert error.http_status == status
    assert error.reason


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_passes(status: int) -> None:
    require_success(response(status, b"{}"))


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.sampled_from(sorted(PROVIDERS)), st.integers(300, 599), st.binary(max_size=200))
def test_no_error_answer_ever_escapes_the_tree(provider: str, status: int, body: bytes) -> None:
    with pytest.raises(UpstreamError):
        PROVIDERS[provider].parse(response(status, body), 1)  # type: ignore[index]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("data", "b64_json", "url", "meta", "usage", "usd_spent", "billed_amount", "cost"),
                    *("choices", "message", "images", "image_url", "error", "code", "metadata", "refusal"),
                    *("status", "output", "media_url", "request_id", "inner_error"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.sampled_from(sorted(PROVIDERS)), st.sampled_from([200, 400, 403, 429]), JSON)
def test_no_json_makes_a_parser_stumble(provider: str, status: int, body: Any) -> None:
    with contextlib.suppress(UpstreamError):  # any other error fails the test
        PROVIDERS[provider].parse(response(status, json.dumps(body).encode()), 1)  # type: ignore[index]


def test_a_closed_account_is_not_a_refusal_of_the_request() -> None:
    error = judged(403, {"error": {"code": "account_suspended", "message": "Violating our usage policy"}})
    assert isinstance(error, Misconfigured)


def test_a_403_about_moderation_is() -> None:
    error = judged(403, {"error": {"code": 403, "message": "Input was flagged by moderation"}})
    assert isinstance(error, Rejected)
    assert error.policy


def test_a_spent_budget_is_not_the_clients_fault() -> None:
    assert isinstance(judged(400, {"error": {"code": "billing_hard_limit_reached"}}), Misconfigured)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7.5"}, 7.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "9000", "retry-after": "7"}, 9.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan", "retry-after-ms": "inf"}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 07:01:00 GMT", "date": "Sat, 21 Nov 2026 07:00:00 GMT"}, 60.0),
        ({"retry-after": "Sat, 21 Nov 2026 06:00:00 GMT", "date": "Sat, 21 Nov 2026 07:00:00 GMT"}, 0.0),
    ],
)
def test_hints(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(httpx.Headers(headers)) == (
        None if seconds is None else pytest.approx(seconds)  # pyright: ignore[reportUnknownMemberType]
    )


def test_a_date_without_the_answers_own_date_counts_from_now() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    assert 45 < (retry_after_seconds(httpx.Headers({"retry-after": moment})) or 0) <= 50


@pytest.mark.parametrize(
    ("hint", "clamped", "out"), [("0", 0.5, False), ("120", 120.0, False), ("121", 120.0, True)]
)
def test_hints_are_clamped_and_long_ones_mean_out_of_quota(hint: str, clamped: float, out: bool) -> None:  # noqa: FBT001
    error = judged(429, None, {"retry-after": hint})
    assert isinstance(error, Throttled)
    assert (error.retry_after, error.out_of_quota) == (clamped, out)


def test_an_outage_does_not_repeat_the_upstreams_words() -> None:
    error = judged(500, {"error": {"code": "oops", "message": "could not draw 'a secret prompt'"}})
    assert "secret" not in error.reason
    assert "oops" in error.reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "inner"}, "message": "outer"}, "inner"),
        ({"error": "Bad Request", "message": "outer"}, "outer"),
        ({"error": "only this"}, "only this"),
        ({"detail": "a\n  detail"}, "a detail"),
        ({"detail": [{"loc": ["prompt"]}]}, ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_messages_in_every_envelope(body: Any, message: str) -> None:
    assert error_body_in(body).message == message


def test_base64_with_or_without_the_head_of_a_data_url() -> None:
    assert decoded("aGVsbG8=") == decoded("data:image/png;base64,aGVsbG8=") == b"hello"


@pytest.mark.parametrize("text", ["aGVs*bG8=", "aGVsbG8", "data:image/png;base64", "<html>", "äöü="])
def test_base64_is_strict(text: str) -> None:
    with pytest.raises(Unavailable):
        decoded(text)


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("0.039000", "0.039"),
        (3, "3"),
        (Decimal("0.0626835"), "0.0626835"),
        (True, None),
        (-1, None),
        ("-0.01", None),
        (1_000_000, "1000000"),
        (1_000_001, None),
        (10**9, None),
        ("999999999.9999999999", None),  # what rounds to more digits than the column has
        (Decimal("1e400"), None),
        ("NaN", None),
        ("Infinity", None),
        ("free", None),
        (None, None),
        ([], None),
    ],
)
def test_costs(value: Any, amount: str | None) -> None:
    assert usd(value) == (None if amount is None else Decimal(amount))
