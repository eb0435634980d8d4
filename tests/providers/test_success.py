"""An error or a refusal inside an answer of status 200, at every upstream; and what such an answer cost."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.upstream import (
    Ambiguous,
    Images,
    Misconfigured,
    Rejected,
    Throttled,
    Unavailable,
    UpstreamError,
)
from imagequeue.providers.registry import PROVIDERS
from tests.media.pictures import picture
from tests.providers.recordings import response

NAMES = sorted(PROVIDERS)
B64 = base64.b64encode(picture()).decode()
COSTS: dict[ProviderName, dict[str, Any]] = {
    "aiml": {"meta": {"usage": {"usd_spent": "<cost>"}}},
    "omixa": {"usage": {"billed_amount": "<cost>"}},
    "openrouter": {"usage": {"cost": "<cost>"}},
}
"""Where the upstreams say what a call cost."""


def error_of(name: ProviderName, body: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        PROVIDERS[name].parse(
            response(200, body if isinstance(body, bytes) else json.dumps(body).encode()), 1
        )
    return raised.value


ERRORS: dict[str, tuple[Any, type[UpstreamError]]] = {
    "a code of HTTP": ({"error": {"code": 502, "message": "down"}}, Ambiguous),
    "a code of HTTP as text": ({"error": {"code": "503", "message": "down"}}, Unavailable),
    "a status beside": ({"error": {"message": "down"}, "status": 500}, Unavailable),
    "a throttle": ({"error": {"code": 429, "message": "Slow down"}}, Throttled),
    "a throttle in words": ({"error": {"type": "rate_limit_exceeded", "message": "Slow down"}}, Throttled),
    "a wrong key": ({"error": {"code": 401, "message": "No such key"}}, Misconfigured),
    "a wrong key in words": ({"error": {"code": "invalid_api_key"}}, Misconfigured),
    "a wrong model": ({"error": "Model not found", "message": "Model 'x' is disabled"}, Misconfigured),
    "no money": ({"error": {"code": "insufficient_quota", "message": "Top up"}}, Misconfigured),
    "a wrong request": ({"error": {"type": "invalid_request_error", "message": "size"}}, Rejected),
    "policy": ({"error": {"code": "content_policy_violation", "message": "No"}}, Rejected),
    "policy in words": ({"error": {"message": "Rejected by our safety system"}}, Rejected),
    "a timeout": ({"error": {"type": "upstream_timeout", "message": "late"}}, Ambiguous),
    "nothing that is known": ({"error": {"message": "Something went wrong"}}, Unavailable),
    "text": ({"error": "Something went wrong"}, Unavailable),
    "a list": ({"errors": [{"code": 429, "message": "Slow down"}]}, Throttled),
    "a message alone": ({"message": "Something went wrong"}, Unavailable),
    "an entry's": ({"data": [{"error": {"code": 429, "message": "Slow down"}}]}, Throttled),
    "a choice's": ({"choices": [{"error": {"code": 403, "message": "flagged by moderation"}}]}, Rejected),
    "none": ({"data": []}, Unavailable),
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("name", NAMES)
def test_an_error_inside_a_success_is_read(name: ProviderName, what: str) -> None:
    body, kind = ERRORS[what]
    assert type(error_of(name, body)) is kind


REASONS = [
    *(
        "content_filter",
        "CONTENT_FILTERED",
        "SAFETY",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "IMAGE_PROHIBITED_CONTENT",
    ),
    *(
        "BLOCKLIST",
        "RECITATION",
        "IMAGE_RECITATION",
        "SPII",
        "refusal",
        "Content Moderated",
        "Request Moderated",
    ),
    *("sensitive", "nsfw", "policy_violation"),
]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_stopped_for_the_content_is_a_refusal(name: ProviderName, reason: str) -> None:
    for choice in (
        {"finish_reason": reason, "message": {"content": None}},
        {"finish_reason": "stop", "native_finish_reason": reason, "message": {"content": None}},
        {"finish_reason": "error", "native_finish_reason": reason, "error": {"code": 502, "message": "down"}},
        {"finishReason": reason},
    ):
        error = error_of(name, {"choices": [choice]})
        assert isinstance(error, Rejected), choice
        assert error.policy


@pytest.mark.parametrize(
    "reason", ["stop", "length", "error", "MAX_TOKENS", "OTHER", "IMAGE_OTHER", "NO_IMAGE", "STOP", None, 7]
)
def test_a_model_that_stopped_for_another_reason_is_not(reason: Any) -> None:
    body = {
        "choices": [{"finish_reason": "stop", "native_finish_reason": reason, "message": {"content": "Hm."}}]
    }
    assert type(error_of("openrouter", body)) is Unavailable


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"message": {"refusal": "I cannot draw that."}}, "I cannot draw that."),
        ({"message": {"content": [{"type": "refusal", "refusal": "I cannot."}]}}, "I cannot."),
        (
            {"native_finish_reason": "IMAGE_SAFETY", "message": {"content": "It shows a person."}},
            "It shows a person.",
        ),
        ({"finish_reason": "SAFETY", "error": {"message": "Blocked by Google."}}, "Blocked by Google."),
        ({"finishReason": "IMAGE_SAFETY", "finishMessage": "Try another prompt."}, "Try another prompt."),
        ({"native_finish_reason": "IMAGE_SAFETY"}, "The upstream refused the content (IMAGE_SAFETY)"),
        (
            {"content_filter_results": {"hate": {"filtered": False}, "violence": {"filtered": True}}},
            "(content_filter: violence)",
        ),
    ],
)
def test_a_refusal_has_the_upstreams_words(place: dict[str, Any], words: str) -> None:
    for name in NAMES:
        for key in ("choices", "data", "candidates"):
            error = error_of(name, {key: [place]})
            assert isinstance(error, Rejected)
            assert error.policy
            assert words in error.reason


def test_the_words_that_openrouter_passes_on_are_those_of_its_upstream() -> None:
    raw = json.dumps({"error": {"code": "content_policy_violation", "message": "Blocked: violence."}})
    error = {
        "code": 400,
        "message": "Provider returned error",
        "metadata": {"raw": raw, "provider_name": "Azure"},
    }
    refusal = error_of("openrouter", {"error": error})
    assert isinstance(refusal, Rejected)
    assert (refusal.policy, refusal.reason) == (True, "Blocked: violence.")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_beside_an_error_is_kept(name: ProviderName) -> None:
    body = {"data": [{"b64_json": B64}], "error": {"code": 400, "message": "1 of 2 images was filtered"}}
    outcome = PROVIDERS[name].parse(response(200, json.dumps(body).encode()), 1)
    assert isinstance(outcome, Images)
    assert outcome.images[0].content == picture()


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("what", ["none", "policy", "nothing that is known", "a throttle"])
def test_what_an_answer_without_an_image_cost_is_known(name: ProviderName, what: str) -> None:
    body = json.dumps(ERRORS[what][0] | COSTS[name]).replace("<cost>", "0.039").encode()
    assert error_of(name, body).cost_usd == Decimal("0.039")


NUMBERS = {
    "0.0626835": "0.0626835",
    "1e-20000": None,
    "1e99999999999": None,
    "1e-99999999999999999999999999": None,
    "1e99999999999999999999999999": None,
    "NaN": None,
    "Infinity": None,
    "-Infinity": None,
    "9" * 5000: None,
    "-" + "9" * 5000: None,
    "0." + "3" * 5000: "0.333333333",
    "0.0000000004": None,
    "0": "0",
    "1E+5": "100000",
}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:30])
@pytest.mark.parametrize("name", COSTS)
def test_a_number_of_any_length_loses_no_image_and_reaches_no_column(name: ProviderName, number: str) -> None:
    body = {"data": [{"b64_json": B64}], **COSTS[name]}
    text = json.dumps(body).replace('"<cost>"', number)
    outcome = PROVIDERS[name].parse(response(200, text.encode()), 1)
    assert isinstance(outcome, Images)
    expected = NUMBERS[number]
    assert outcome.cost_usd == (None if expected is None else Decimal(expected))
    assert outcome.cost_usd is None or -outcome.cost_usd.as_tuple().exponent <= 9  # type: ignore[operator]


@pytest.mark.parametrize("place", ["code", "status"])
def test_a_number_of_any_length_in_an_error_is_read(place: str) -> None:
    for number in NUMBERS:
        body = f'{{"error": {{"{place}": {number}, "message": "down"}}}}'.encode()
        assert isinstance(error_of("openai", body), UpstreamError)
