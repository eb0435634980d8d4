"""Events of batches: who is told, in which words, and only if the batch has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openai import OpenAI
from sqlalchemy import text
from standardwebhooks import Webhook

from imagequeue.domain.ids import new_id
from imagequeue.domain.webhook_events import BATCH_EVENTS
from imagequeue.domain.webhooks import DEFAULT_SCHEDULE
from imagequeue.lifecycle.deliver.batch_events import BatchEvent, write_batch_event
from imagequeue.lifecycle.operate.webhook_endpoints import EndpointFields, IssuedEndpoint, open_endpoint
from tests.lifecycle.deliver.receiving import Webhooks

COUNTS = '{"id":"batch_1","state":"completed","counts":{"completed":3}}'


def _open(webhooks: Webhooks, *event_types: str, url: str | None = None) -> IssuedEndpoint:
    fields = EndpointFields("mine", url or f"{webhooks.url}?endpoint", list(event_types))
    return open_endpoint(webhooks.pipeline.runtime, webhooks.pipeline.account_id, fields)


def _happened(webhooks: Webhooks, event_type: str = "batch.completed", **changes: Any) -> BatchEvent:
    """An event of a batch of this account, written and committed."""
    with webhooks.pipeline.runtime.engine.begin() as connection:
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        event = BatchEvent(webhooks.pipeline.account_id, new_id(), event_type, COUNTS, now)
        event = replace(event, **changes)
        write_batch_event(connection, event, DEFAULT_SCHEDULE)
    return event


def test_the_url_of_a_batch_gets_what_the_batch_says(webhooks: Webhooks) -> None:
    _happened(webhooks, webhook_url=webhooks.url)
    assert webhooks.deliver() == 1
    ((headers, body),) = webhooks.receiver.got
    assert body.decode() == COUNTS
    Webhook(webhooks.secret()).verify(body, headers)
    assert webhooks.row().state == "DELIVERED"


@pytest.mark.parametrize("event_type", BATCH_EVENTS)
def test_an_endpoint_is_told_of_a_batch_in_words_that_the_openai_package_unwraps(
    webhooks: Webhooks, event_type: str
) -> None:
    issued = _open(webhooks, "batch.*")
    _open(webhooks, "request.*", url=f"{webhooks.url}?not-this-one")
    event = _happened(webhooks, event_type)
    assert webhooks.deliver() == 1
    ((headers, body),) = webhooks.receiver.got
    said = json.loads(body)
    assert (said["object"], said["type"], said["data"]) == ("event", event_type, json.loads(COUNTS))
    assert said["created_at"] == int(event.now.timestamp())
    unwrapped: Any = OpenAI(api_key="none").webhooks.unwrap(body, headers, secret=issued.secret)
    assert (unwrapped.id, unwrapped.type) == (said["id"], event_type)


def test_an_endpoint_with_the_url_of_the_batch_gets_one_webhook(webhooks: Webhooks) -> None:
    _open(webhooks, "batch.completed", url=webhooks.url)
    _happened(webhooks, webhook_url=webhooks.url)
    assert webhooks.deliver() == 1
    assert [body.decode() for _, body in webhooks.receiver.got] == [COUNTS]


def test_a_batch_that_is_paused_twice_is_told_of_twice(webhooks: Webhooks) -> None:
    _open(webhooks, "batch.paused")
    first = _happened(webhooks, "batch.paused")
    _happened(webhooks, "batch.paused", batch_id=first.batch_id)
    assert webhooks.deliver() == 2
    assert len({json.loads(body)["id"] for _, body in webhooks.receiver.got}) == 2


def test_a_change_of_a_batch_that_is_rolled_back_is_told_to_nobody(webhooks: Webhooks) -> None:
    _open(webhooks, "batch.*")
    event = _happened(webhooks)
    with webhooks.pipeline.runtime.engine.connect() as connection:
        assert write_batch_event(connection, event, DEFAULT_SCHEDULE) == 1
        connection.rollback()
    assert webhooks.deliver() == 1


def test_an_event_that_no_batch_has_is_refused(webhooks: Webhooks) -> None:
    with pytest.raises(ValueError, match="no event of a batch"):
        _happened(webhooks, "request.completed")
