"""Signatures, checked by the package that receivers use."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from imagequeue.signing import new_webhook_secret, sign

BODY = json.dumps({"request_id": "m_1", "prompt": "Größe 🐈"}, ensure_ascii=False).encode()


def test_a_secret_is_32_random_bytes() -> None:
    secret = new_webhook_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret != new_webhook_secret()


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))]
)
def test_a_receiver_accepts_the_signature_whatever_the_clocks_zone(zone: timezone) -> None:
    secret = new_webhook_secret()
    headers = sign("msg_1", datetime.now(zone), BODY, [secret])
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"].isdecimal()


def test_during_a_rotation_either_secret_verifies_and_no_other() -> None:
    old, new = new_webhook_secret(), new_webhook_secret()
    headers = sign("msg_1", datetime.now(UTC), BODY, [new, old])
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_webhook_secret()).verify(BODY, headers)


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp"])
def test_a_changed_message_is_not_accepted(changed: str) -> None:
    secret = new_webhook_secret()
    headers = sign("msg_1", datetime.now(UTC), BODY, [secret])
    body = BODY + b" " if changed == "body" else BODY
    if changed != "body":
        headers[changed] = headers[changed][:-1] + ("2" if headers[changed][-1] != "2" else "3")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_a_known_signature() -> None:
    """Computed once with hmac alone, from the specification's text."""
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    headers = sign("msg_1", datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC), b"{}", [secret])
    assert headers["webhook-timestamp"] == "1767323045"
    assert headers["webhook-signature"] == "v1,Oym0XpXWYTk7hXpZm1ye1wsco8FVzXTJUGfyaFALawE="


def test_a_naive_time_or_no_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        sign("msg_1", datetime(2026, 1, 1), BODY, [new_webhook_secret()])  # noqa: DTZ001 -- the case under test
    with pytest.raises(ValueError, match="secret"):
        sign("msg_1", datetime.now(UTC), BODY, [])
