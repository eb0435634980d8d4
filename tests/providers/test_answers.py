"""What the status of an answer means, beyond what the recordings have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagequeue.domain.upstream import (
    Ambiguous,
    Misconfigured,
    Rejected,
    Throttled,
    Unavailable,
    UpstreamError,
)
from imagequeue.providers.answers import require_success
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
