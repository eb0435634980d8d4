"""Endpoints of an account: which events they are told of, how they are signed, and when they are not told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openai import OpenAI
from standardwebhooks import Webhook, WebhookVerificationError

from imagequeue.domain.jobs import JobStatus
from imagequeue.lifecycle.deliver.sample_event import send_test_event
from imagequeue.lifecycle.operate.webhook_endpoints import (
    EndpointFields,
    IssuedEndpoint,
    close_endpoint,
    open_endpoint,
)
from imagequeue.lifecycle.operate.webhook_secrets import reencrypt, rotate_webhook_secret
from imagequeue.store.webhook_secrets import SecretOwner
from tests.lifecycle.deliver.receiving import Webhooks


def _open(webhooks: Webhooks, *event_types: str, url: str | None = None) -> IssuedEndpoint:
    fields = EndpointFields("mine", url or f"{webhooks.url}?endpoint", list(event_types))
    return open_endpoint(webhooks.pipeline.runtime, webhooks.pipeline.account_id, fields)


def _complete(webhooks: Webhooks, **named: Any) -> Any:
    """A job that completes; its row."""
    (job_id,) = webhooks.pipeline.submit(**named)
    webhooks.pipeline.run()
    (row,) = webhooks.pipeline.rows("SELECT job_id, body FROM job_results WHERE job_id = :id", id=job_id)
    return row


def test_an_endpoint_is_told_of_every_job_in_words_that_the_openai_package_unwraps(
    webhooks: Webhooks,
) -> None:
    issued = _open(webhooks, "request.*")
    job = _complete(webhooks)
    assert webhooks.deliver() == 1
    ((headers, body),) = webhooks.receiver.got
    event = json.loads(body)
    assert (event["id"], event["object"], event["type"]) == (
        f"evt_{job.job_id}",
        "event",
        "request.completed",
    )
    assert event["data"] == json.loads(job.body)
    assert isinstance(event["created_at"], int)
    Webhook(issued.secret).verify(body, headers)
    unwrapped: Any = OpenAI(api_key="none").webhooks.unwrap(body, headers, secret=issued.secret)
    assert (unwrapped.id, unwrapped.type) == (event["id"], "request.completed")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.secret()).verify(body, headers)


def test_the_url_of_the_request_and_the_endpoint_are_told_each_in_its_own_way(webhooks: Webhooks) -> None:
    issued = _open(webhooks, "request.completed")
    job = _complete(webhooks, webhook_url=webhooks.url)
    assert webhooks.deliver() == 2
    bodies = {body.decode(): headers for headers, body in webhooks.receiver.got}
    Webhook(webhooks.secret()).verify(job.body, bodies.pop(job.body))
    ((event, headers),) = bodies.items()
    Webhook(issued.secret).verify(event, headers)


def test_an_endpoint_with_the_url_of_the_request_gets_one_webhook(webhooks: Webhooks) -> None:
    _open(webhooks, "request.completed", url=webhooks.url)
    job = _complete(webhooks, webhook_url=webhooks.url)
    assert webhooks.deliver() == 1
    assert [body.decode() for _, body in webhooks.receiver.got] == [job.body]


def test_an_endpoint_is_told_of_the_types_that_it_asked_for(webhooks: Webhooks) -> None:
    _open(webhooks, "request.failed", "batch.*")
    _complete(webhooks)
    assert webhooks.pipeline.rows("SELECT id FROM deliveries") == []
    (job_id,) = webhooks.pipeline.submit()
    webhooks.pipeline.settlement.end([job_id], JobStatus.FAILED, "cancelled")
    webhooks.deliver()
    ((_, body),) = webhooks.receiver.got
    assert json.loads(body)["type"] == "request.failed"


def test_nothing_is_sent_to_an_endpoint_that_was_deleted(webhooks: Webhooks) -> None:
    issued = _open(webhooks, "request.*")
    _complete(webhooks)
    close_endpoint(webhooks.pipeline.runtime, webhooks.pipeline.account_id, issued.endpoint.id)
    webhooks.deliver()
    assert webhooks.receiver.got == []
    assert webhooks.row().state == "DEAD"
    assert [made.outcome for made in webhooks.attempts()] == ["endpoint_deleted"]
    _complete(webhooks)
    assert len(webhooks.pipeline.rows("SELECT id FROM deliveries")) == 1
    assert webhooks.pipeline.rows("SELECT id FROM webhook_endpoints") == []


def test_the_secret_of_an_endpoint_is_rotated_and_encrypted_again_by_itself(webhooks: Webhooks) -> None:
    issued, runtime = _open(webhooks, "request.*"), webhooks.pipeline.runtime
    owner, day = SecretOwner.ENDPOINT, timedelta(days=1)
    rotated = rotate_webhook_secret(runtime.engine, runtime.keyring, owner, issued.endpoint.id, day)
    assert reencrypt(runtime.engine, runtime.keyring) == 2
    _complete(webhooks)
    webhooks.deliver()
    ((headers, body),) = webhooks.receiver.got
    for secret in (issued.secret, rotated.secret):
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("status", [200, 500])
def test_a_test_event_is_sent_at_once_and_signed(webhooks: Webhooks, status: int) -> None:
    issued = _open(webhooks, "request.*")
    webhooks.receiver.status = status
    runtime = webhooks.pipeline.runtime
    sent = send_test_event(runtime, issued.endpoint, "batch.completed", datetime.now(UTC))
    assert sent.status == status
    ((headers, body),) = webhooks.receiver.got
    assert json.loads(body)["type"] == "batch.completed"
    Webhook(issued.secret).verify(body, headers)
    assert webhooks.pipeline.rows("SELECT id FROM deliveries") == []
