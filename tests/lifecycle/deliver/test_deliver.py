"""Webhooks: signed, retried by the schedule in Postgres, recorded, fenced."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from imagequeue.domain.webhooks import DEFAULT_SCHEDULE, WebhookMessage
from tests.lifecycle.deliver.receiving import Webhooks


def test_the_webhook_is_the_status_body_signed_for_both_packages(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    assert webhooks.deliver() == 1
    ((headers, body),) = webhooks.receiver.got
    (result,) = webhooks.pipeline.rows("SELECT body FROM job_results")
    assert body.decode() == result.body
    Webhook(webhooks.secret()).verify(body, headers)
    SvixWebhook(webhooks.secret()).verify(body, headers)
    assert headers["x-webhook-attempt"] == "1"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("imagequeue/")
    assert webhooks.row().state == "DELIVERED"
    (made,) = webhooks.attempts()
    assert (made.http_status, made.outcome, made.response_excerpt) == (200, "http_200", "thank you")


def test_a_dialect_with_a_signature_of_its_own_signs_with_it(webhooks: Webhooks) -> None:
    got: list[WebhookMessage] = []

    def headers(message: WebhookMessage) -> dict[str, str]:
        got.append(message)
        return {"x-own-signature": "signed"}

    webhooks.delivering = replace(webhooks.delivering, dialect_headers={"pixazo": headers})
    webhooks.finish_job()
    webhooks.deliver()
    ((sent, body),) = webhooks.receiver.got
    (message,) = got
    assert (sent["x-own-signature"], sent["x-webhook-attempt"]) == ("signed", "1")
    assert "webhook-signature" not in sent
    assert (message.body, message.account_id) == (body, webhooks.pipeline.account_id)
    assert (message.secrets, message.webhook_id) == ([webhooks.secret()], webhooks.row().webhook_id)
    assert message.timestamp.tzinfo is not None


def test_a_failure_keeps_the_schedule_and_the_webhook_id(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.receiver.status = 500
    webhooks.deliver()
    row = webhooks.row()
    assert (row.state, row.attempt_count) == ("PENDING", 1)
    assert timedelta(0) < row.waits <= timedelta(seconds=6)
    assert webhooks.deliver() == 0
    webhooks.receiver.status = 200
    webhooks.due()
    webhooks.deliver()
    first, second = (headers for headers, _ in webhooks.receiver.got)
    assert first["webhook-id"] == second["webhook-id"]
    assert second["x-webhook-attempt"] == "2"
    assert [made.number for made in webhooks.attempts()] == [1, 2]


def test_gone_is_dead_at_once(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.receiver.status = 410
    webhooks.deliver()
    assert webhooks.row().state == "DEAD"


def test_the_last_attempt_of_the_schedule_is_the_last(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.receiver.status = 500
    for _ in DEFAULT_SCHEDULE:
        webhooks.due()
        webhooks.deliver()
    row = webhooks.row()
    assert (row.state, row.attempt_count) == ("DEAD", len(DEFAULT_SCHEDULE))


def test_a_lost_doorbell_is_rung_again_after_a_quarter_of_a_minute(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.deliveries.run_once()
    webhooks.claimed.clear()
    assert timedelta(0) < webhooks.row().waits <= timedelta(seconds=15)
    webhooks.due()
    assert webhooks.deliver() == 1
    assert webhooks.row().state == "DELIVERED"


def test_of_two_doorbells_of_one_delivery_one_sends(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.deliveries.run_once()
    webhooks.due()
    webhooks.deliveries.run_once()
    first, second = webhooks.claimed
    webhooks.receiver.meanwhile = lambda: webhooks.delivering.run(second)
    webhooks.delivering.run(first)
    webhooks.delivering.run(first)
    assert len(webhooks.receiver.got) == len(webhooks.attempts()) == 1
    assert webhooks.row().state == "DELIVERED"


def test_a_late_first_doorbell_is_as_good_as_the_second(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.deliveries.run_once()
    webhooks.due()
    webhooks.deliveries.run_once()
    webhooks.delivering.run(webhooks.claimed[0])
    assert webhooks.row().state == "DELIVERED", "however long the queue is, what is in it can be begun"


def test_an_attempt_that_is_made_has_its_whole_lease(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    waits = list[Any]()
    webhooks.receiver.meanwhile = lambda: waits.append(webhooks.row().waits)
    webhooks.deliver()
    (left,) = waits
    assert timedelta(seconds=15) < left <= timedelta(seconds=60)


def test_a_doorbell_that_outlived_its_attempt_does_not_send_before_the_schedule(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.receiver.status = 500
    webhooks.deliveries.run_once()

    def lease_over() -> None:
        webhooks.due()
        webhooks.deliveries.run_once()

    webhooks.receiver.meanwhile = lease_over
    first = webhooks.claimed.pop()
    webhooks.delivering.run(first)
    (second,) = webhooks.claimed
    webhooks.delivering.run(second)
    assert (len(webhooks.receiver.got), len(webhooks.attempts())) == (1, 1)


def test_an_attempt_is_not_recorded_when_another_one_has_begun(webhooks: Webhooks) -> None:
    webhooks.finish_job()

    def taken_over() -> None:
        webhooks.receiver.meanwhile = None
        webhooks.receiver.status = 500
        webhooks.due()
        webhooks.deliver()
        webhooks.receiver.status = 200

    webhooks.receiver.meanwhile = taken_over
    webhooks.deliver()
    assert [made.http_status for made in webhooks.attempts()] == [500]
    assert (webhooks.row().state, webhooks.row().attempt_count) == ("PENDING", 1)


def test_a_delivery_whose_worker_died_is_due_again_and_the_old_claim_is_fenced(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.deliveries.run_once()
    lost = webhooks.claimed.pop()
    assert webhooks.deliveries.run_once() == 0
    webhooks.due()
    webhooks.deliver()
    webhooks.delivering.run(lost)
    assert len(webhooks.receiver.got) == 1
    assert len(webhooks.attempts()) == 1


def test_a_target_that_turned_private_is_blocked_and_dies_after_three_attempts(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.pipeline.execute("UPDATE deliveries SET url = 'https://10.1.2.3/hook'")
    for _ in range(3):
        webhooks.due()
        webhooks.deliver()
    assert webhooks.row().state == "DEAD"
    assert {made.outcome for made in webhooks.attempts()} == {"blocked_destination"}
    assert webhooks.receiver.got == []
