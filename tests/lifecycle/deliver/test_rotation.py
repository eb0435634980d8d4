"""From a leak to its end: the secret of an account, and the secret key of the service."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from imagequeue.domain.errors import ConfigurationError
from imagequeue.lifecycle.operate.webhook_secrets import reencrypt, rotate_webhook_secret
from imagequeue.signing import Keyring, new_secret_key
from imagequeue.store.webhook_secrets import SecretOwner
from tests.builders import SECRET_KEY
from tests.lifecycle.deliver.receiving import Webhooks


def _rotate(webhooks: Webhooks, overlap: timedelta) -> str:
    runtime, account_id = webhooks.pipeline.runtime, webhooks.pipeline.account_id
    owner = SecretOwner.ACCOUNT
    return rotate_webhook_secret(runtime.engine, runtime.keyring, owner, account_id, overlap).secret


def _verifies(webhooks: Webhooks, secret: str) -> bool:
    """Whether a receiver that knows `secret` takes the last webhook."""
    headers, body = webhooks.receiver.got[-1]
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def _next(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    assert webhooks.deliver() == 1


def test_a_secret_that_leaked_signs_beside_the_new_one_until_the_overlap_ends(webhooks: Webhooks) -> None:
    leaked = webhooks.secret()
    fresh = _rotate(webhooks, timedelta(hours=24))
    _next(webhooks)
    headers, _ = webhooks.receiver.got[-1]
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert _verifies(webhooks, leaked)
    assert _verifies(webhooks, fresh)
    webhooks.pipeline.execute("UPDATE accounts SET old_secrets_until = clock_timestamp()")
    _next(webhooks)
    assert not _verifies(webhooks, leaked)
    assert _verifies(webhooks, fresh)
    assert _rotate(webhooks, timedelta(hours=1)) != fresh
    assert leaked not in webhooks.secret()


def test_a_secret_rotated_without_an_overlap_signs_no_more(webhooks: Webhooks) -> None:
    leaked = webhooks.secret()
    fresh = _rotate(webhooks, timedelta(0))
    _next(webhooks)
    assert not _verifies(webhooks, leaked)
    assert _verifies(webhooks, fresh)


def test_a_second_rotation_does_not_end_the_overlap_of_the_first(webhooks: Webhooks) -> None:
    first = webhooks.secret()
    second = _rotate(webhooks, timedelta(hours=24))
    third = _rotate(webhooks, timedelta(hours=1))
    _next(webhooks)
    assert all(_verifies(webhooks, secret) for secret in (first, second, third))


def test_a_secret_key_that_leaked_is_not_needed_once_all_is_encrypted_again(webhooks: Webhooks) -> None:
    secret, engine, fresh = webhooks.secret(), webhooks.pipeline.runtime.engine, new_secret_key()
    with pytest.raises(ConfigurationError):
        reencrypt(engine, Keyring(fresh))
    assert reencrypt(engine, Keyring(f"{fresh},{SECRET_KEY}")) == 1
    webhooks.deliveries.delivering = replace(webhooks.deliveries.delivering, keyring=Keyring(fresh))
    _next(webhooks)
    assert _verifies(webhooks, secret)
    (row,) = webhooks.pipeline.rows("SELECT webhook_secrets FROM accounts")
    with pytest.raises(ConfigurationError):
        Keyring(SECRET_KEY).decrypt(row.webhook_secrets)


def test_encrypting_again_forgets_secrets_whose_overlap_is_over(webhooks: Webhooks) -> None:
    leaked = webhooks.secret()
    fresh = _rotate(webhooks, timedelta(hours=24))
    webhooks.pipeline.execute("UPDATE accounts SET old_secrets_until = clock_timestamp()")
    reencrypt(webhooks.pipeline.runtime.engine, webhooks.pipeline.runtime.keyring)
    assert webhooks.secret() == fresh != leaked
