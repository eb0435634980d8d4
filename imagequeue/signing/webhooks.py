"""Signatures of webhooks, by the Standard Webhooks specification (`v1`: HMAC-SHA256)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_webhook_secret() -> str:
    """Return a fresh secret: `whsec_` and the base64 of 32 random bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def sign(webhook_id: str, timestamp: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the three headers of one delivery attempt.

    Several secrets (during a rotation) give several signatures in one header, in the order given; a receiver
    accepts any of them. `body` must be UTF-8, as JSON is.

    Raises:
        ValueError: `timestamp` is naive (it would be signed as if it were UTC), or there is no secret.
    """
    if timestamp.tzinfo is None:
        raise ValueError("a webhook's timestamp must be aware")
    if not secrets:
        raise ValueError("a webhook needs at least one secret")
    # The package sets the zone to UTC without converting to it, so other zones are converted before.
    moment = timestamp.astimezone(UTC).replace(microsecond=0)
    text = body.decode("utf-8")
    signatures = [Webhook(secret).sign(webhook_id, moment, text) for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
