"""Every status that upstreams and gateways answer with, by whose answer it is, and what it means."""

from __future__ import annotations

import itertools
import json
from typing import Any, get_args

import pytest

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.upstream import (
    Ambiguous,
    Misconfigured,
    Rejected,
    Throttled,
    Unavailable,
    UpstreamError,
)
from imagequeue.providers.answers import require_success
from imagequeue.providers.error_body import Origin, error_body_in
from imagequeue.providers.registry import PROVIDERS
from tests.providers.recordings import response

NAMES = sorted(PROVIDERS)
Kind = type[UpstreamError]

OWN = json.dumps({"error": {"code": "E1", "message": "No."}}).encode()
OWN_IN_SHORT = json.dumps({"error": "E1", "message": "No."}).encode()
OWN_WITHOUT_ERROR = json.dumps({"statusCode": 1, "message": "No."}).encode()
BODIES: dict[str, tuple[bytes, Origin]] = {
    "its own": (OWN, "upstream"),
    "its own in short": (OWN_IN_SHORT, "upstream"),
    "its own without an error": (OWN_WITHOUT_ERROR, "upstream"),
    "nothing": (b"", "unclear"),
    "null": (b"null", "unclear"),
    "text": (b"Request denied", "unclear"),
    "a gateway's problem": (b'{"title": "Access denied", "status": 403, "ray_id": "8d"}', "unclear"),
    "a page": (b"<!DOCTYPE html><html><title>Attention Required!</title></html>", "stranger"),
    "a page after a blank line": (b"\r\n <html></html>", "stranger"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "stranger"),
    "foreign JSON": (b'{"blocked": true, "incident": 7}', "stranger"),
    "a foreign list": (b"[1, 2]", "stranger"),
}

CLIENT_ERRORS = range(400, 500)
GATEWAYS = [*range(500, 512), *range(520, 531), 598, 599]
KEY = {401, 402, 407, 495, 496, 498}
ADDRESS = {403, 404, 405, 410, 421, 426, 497}
GAVE_UP = {408, 424, 460, 499}
REPEAT = {409, 423, 425, 449}
TOO_LARGE = {413, 414, 431, 494}
NO_IMAGE = {500, 501, 503, 505, 506, 507, 508, 509, 510, 511, 521, 523, 525, 526, 529, 530}


def meaning(status: int, origin: Origin) -> Kind:
    """What docs/design/protocols.md, "What an answer means", says."""
    by_status: dict[Kind, set[int]] = {
        Throttled: {420, 429},
        Unavailable: REPEAT | NO_IMAGE,
        Ambiguous: GAVE_UP,
        Rejected: TOO_LARGE,
    }
    for kind, statuses in by_status.items():
        if status in statuses:
            return kind
    if status >= 500:
        return Ambiguous
    if origin == "stranger" or (status in ADDRESS and origin == "unclear"):
        return Unavailable
    return Misconfigured if status in KEY | ADDRESS else Rejected


def read(
    name: ProviderName, status: int, body: bytes, headers: dict[str, str] | None = None
) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        PROVIDERS[name].parse(response(status, body, headers), 1)
    return raised.value


@pytest.mark.parametrize("status", [*CLIENT_ERRORS, *GATEWAYS])
def test_a_status_means_the_same_at_every_upstream(status: int) -> None:
    for name, (content, origin) in itertools.product(NAMES, BODIES.values()):
        error = read(name, status, content)
        assert type(error) is meaning(status, origin), (name, content)
        assert error.http_status == status
        assert error.reason


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_not_followed_with_a_key(status: int) -> None:
    for name in NAMES:
        assert type(read(name, status, b"")) is Unavailable


@pytest.mark.parametrize("body", BODIES)
def test_whose_answer_it_is(body: str) -> None:
    content, origin = BODIES[body]
    assert origin in get_args(Origin)
    if content[:1] in (b"{", b"[", b"n"):
        assert error_body_in(json.loads(content)).origin == origin


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_firewalls_page_does_not_take_the_deployment_out(name: ProviderName, status: int) -> None:
    error = read(
        name, status, b"<html><h1>Access denied</h1>Error 1020</html>", {"content-type": "text/html"}
    )
    assert type(error) is Unavailable
    assert "no answer of the upstream itself" in error.reason


@pytest.mark.parametrize(
    "code",
    [
        "content_policy_violation",
        "content_filter",
        "moderation_blocked",
        "sensitive_words_detected",
        "SensitiveContentDetected",
        "InputImageSensitiveContentDetected.PrivacyInformation",
        "data_inspection_failed",
        "InternalError.Algo.DataInspectionFailed",
        "prompt_blocked",
        "IMAGE_SAFETY",
        "PROHIBITED_CONTENT",
        "ResponsibleAIPolicyViolation",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422, 451, 500, 503])
def test_a_code_of_policy_is_a_refusal_whatever_its_status(status: int, code: str) -> None:
    for body in ({"error": {"code": code, "message": "Not this."}}, {"error": code, "message": "Not this."}):
        error = read("openai", status, json.dumps(body).encode())
        assert isinstance(error, Rejected)
        assert (error.policy, error.reason) == (True, "Not this.")


@pytest.mark.parametrize(
    "code", ["model_not_found", "Model not found", "DeploymentNotFound", "invalid_api_key"]
)
def test_a_code_that_blames_us_is_not_the_clients_fault_whatever_its_status(code: str) -> None:
    for status in (400, 404, 422):
        assert isinstance(
            read("openai", status, json.dumps({"error": {"code": code}}).encode()), Misconfigured
        )


QUOTA = [
    "insufficient_quota",
    "Insufficient Balance",
    "insufficient_user_quota",
    "billing_not_active",
    "Arrearage",
]


@pytest.mark.parametrize("code", QUOTA)
def test_a_quota_that_does_not_refill_is_not_the_clients_fault(code: str) -> None:
    body = json.dumps({"error": {"code": code, "message": "No money left"}}).encode()
    assert isinstance(read("aiml", 400, body), Misconfigured)
    throttled = read("aiml", 429, body)
    assert isinstance(throttled, Throttled)
    assert throttled.out_of_quota


def test_a_refusal_as_text_is_shown_to_the_client() -> None:
    error = read("foundry", 400, b"The prompt is\n too long")
    assert (type(error), error.reason) == (Rejected, "The prompt is too long")


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"\x00\x01", b"\x1b[31mred"])
def test_a_refusal_as_bytes_is_not_shown(body: bytes) -> None:
    assert read("foundry", 400, body).reason == "The upstream refused the request"


CODES: list[Any] = [
    "sensitive_words_detected",
    "content_policy_violation_v2",
    "key_not_found",
    "model-overloaded-2",
]


@pytest.mark.parametrize("code", CODES)
def test_an_error_code_is_never_masked_as_if_it_were_a_key(code: str) -> None:
    body = json.dumps({"error": {"code": code, "message": f"Said by {'x' * 5}"}}).encode()
    for status in (401, 429, 502):
        assert code in read("openai", status, body).reason


@pytest.mark.parametrize(
    "key",
    [
        "sk-0123456789abcdef",
        "sk-proj-abcdefgh",
        "omx_live_abcdefgh",
        "0123456789abcdef0123456789abcdef",
        "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz0123456789ABCDEFGHIJKLMN+/==",
        "019d0000-0000-7000-8000-000000000001",
    ],
)
def test_what_looks_like_a_key_is_masked_in_codes_and_messages(key: str) -> None:
    body = json.dumps({"error": {"code": key, "message": f"Incorrect key {key}."}}).encode()
    for status in (401, 429, 502):
        assert key not in read("openai", status, body).reason


def judged(status: int, body: Any = None, headers: dict[str, str] | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        require_success(response(status, json.dumps(body).encode(), headers))
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_passes(status: int) -> None:
    answered = response(status, b"{}")
    require_success(answered)
    assert answered.body.tell() == 0, "the body is left to whoever reads the answer"


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
