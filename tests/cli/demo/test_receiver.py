"""The demo believes no webhook whose signature it has not checked."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from cli.demo.deadline import DemoDeadline
from cli.demo.errors import DemoFailed
from cli.demo.receiver import Receiver
from imagequeue.signing import new_webhook_secret, sign

BODY = '{"status":"COMPLETED","prompt":"Türme"}'.encode()


def _deliver(receiver: Receiver, secret: str, body: bytes = BODY) -> None:
    headers = sign("msg_1", datetime.now(UTC), BODY, [secret])
    httpx.post(receiver.url, content=body, headers=headers, trust_env=False).raise_for_status()


def test_a_signed_webhook_is_believed() -> None:
    secret = new_webhook_secret()
    with Receiver().open() as receiver:
        _deliver(receiver, secret)
        assert receiver.webhook(secret, DemoDeadline.after(5)) == ("msg_1", BODY)


def test_a_changed_body_is_not_believed() -> None:
    secret = new_webhook_secret()
    with Receiver().open() as receiver:
        _deliver(receiver, secret, BODY.replace(b"COMPLETED", b"FAILED"))
        with pytest.raises(DemoFailed, match="signature"):
            receiver.webhook(secret, DemoDeadline.after(5))


def test_another_accounts_signature_is_not_believed() -> None:
    with Receiver().open() as receiver:
        _deliver(receiver, new_webhook_secret())
        with pytest.raises(DemoFailed, match="signature"):
            receiver.webhook(new_webhook_secret(), DemoDeadline.after(5))


def test_a_webhook_that_never_comes_ends_the_demo() -> None:
    with Receiver().open() as receiver, pytest.raises(DemoFailed, match="webhook"):
        receiver.webhook(new_webhook_secret(), DemoDeadline.after(0.05))
