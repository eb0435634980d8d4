"""Webhooks: signed, retried by the schedule in Postgres, recorded, fenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from imagequeue.domain.webhooks import DEFAULT_SCHEDULE, WebhookMessage
from imagequeue.lifecycle.deliver.attempt import EndedAttempt
from imagequeue.lifecycle.deliver.record import Recording
from tests.lifecycle.deliver.by_hand import deliver_once
from tests.lifecycle.deliver.receiving import Webhooks

MOST_STATEMENTS = 5
"""Of a record, whatever their number: read the targets, lock them, write one, and the attempts."""


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

    delivering = webhooks.deliveries.delivering
    webhooks.deliveries.delivering = replace(delivering, dialect_headers={"pixazo": headers})
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


def test_an_attempt_that_is_made_has_its_whole_lease(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    waits = list[Any]()
    webhooks.receiver.meanwhile = lambda: waits.append(webhooks.row().waits)
    webhooks.deliver()
    (left,) = waits
    assert timedelta(seconds=15) < left <= timedelta(seconds=60)


def test_an_attempt_is_not_recorded_when_another_one_has_begun(webhooks: Webhooks) -> None:
    webhooks.finish_job()

    def taken_over() -> None:
        webhooks.receiver.meanwhile = None
        webhooks.receiver.status = 500
        webhooks.due()
        deliver_once(webhooks.pipeline.runtime)
        webhooks.receiver.status = 200

    webhooks.receiver.meanwhile = taken_over
    webhooks.deliver()
    assert [made.http_status for made in webhooks.attempts()] == [500]
    assert (webhooks.row().state, webhooks.row().attempt_count) == ("PENDING", 1)


def test_a_delivery_whose_process_died_is_due_when_its_lease_ends(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    lost = webhooks.begin()
    assert webhooks.deliver() == 0
    webhooks.due()
    webhooks.deliver()
    assert (webhooks.row().state, len(webhooks.attempts())) == ("DELIVERED", 1)
    webhooks.make(lost)
    assert len(webhooks.attempts()) == 1, "it was not dead, but its fence is the old one"


def test_attempts_that_ended_are_recorded_together_and_a_stale_one_spoils_no_other(
    webhooks: Webhooks,
) -> None:
    for _ in range(3):
        webhooks.finish_job()
    webhooks.pipeline.beat()
    assert webhooks.deliveries.run_once() == 3
    for begun in webhooks.pool.begun:
        begun.make()
    stale = webhooks.pool.begun[1].delivery_id
    webhooks.pipeline.execute("UPDATE deliveries SET fence = fence + 1 WHERE id = :id", id=stale)
    statements = list[str]()
    event.listen(
        webhooks.pipeline.runtime.engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    assert webhooks.deliveries.record_once() == 3
    assert len(statements) <= MOST_STATEMENTS
    states = webhooks.pipeline.rows("SELECT id, state, attempt_count FROM deliveries")
    assert {(row.id == stale, row.state, row.attempt_count) for row in states} == {
        (True, "PENDING", 0),
        (False, "DELIVERED", 1),
    }
    assert len(webhooks.attempts()) == 2


def test_what_the_database_refuses_to_record_spoils_no_other(webhooks: Webhooks) -> None:
    for _ in range(2):
        webhooks.finish_job()
    webhooks.pipeline.beat()
    webhooks.deliveries.run_once()
    wrong, right = webhooks.pool.begun
    webhooks.pipeline.execute(
        "UPDATE deliveries SET attempt_count = 32767 WHERE id = :id", id=wrong.delivery_id
    )
    wrong.make()
    right.make()
    assert webhooks.deliveries.record_once() == 2
    assert webhooks.deliveries.record_once() == 0
    (state,) = webhooks.pipeline.rows("SELECT state FROM deliveries WHERE id = :id", id=right.delivery_id)
    assert state.state == "DELIVERED"


def test_while_the_database_is_away_what_ended_is_kept_and_nothing_more_is_claimed(
    webhooks: Webhooks,
) -> None:
    for _ in range(3):
        webhooks.finish_job()
    webhooks.deliveries.slots = 2
    webhooks.pipeline.beat()
    assert webhooks.deliveries.run_once() == 2
    for begun in webhooks.pool.begun:
        begun.make()
    recording = webhooks.deliveries.recording
    webhooks.deliveries.recording = replace(
        recording, engine=create_engine("postgresql+psycopg://127.0.0.1:1/")
    )
    for _ in range(2):
        with pytest.raises(OperationalError):
            webhooks.deliveries.record_once()
        assert webhooks.deliveries.run_once() == 0, "no place is free"
    webhooks.deliveries.recording = recording
    assert webhooks.deliveries.record_once() == 2
    assert webhooks.deliveries.run_once() == 1


class _Unanswered(Recording):
    """Commits, and does not hear of it: the connection breaks before the answer has come."""

    def record(self, ended: Sequence[EndedAttempt]) -> None:
        super().record(ended)
        raise OperationalError("COMMIT", None, ConnectionError("broken off"))


class _Broken(Recording):
    def record(self, ended: Sequence[EndedAttempt]) -> None:
        raise LookupError(len(ended))


def _fail_to_record(webhooks: Webhooks, broken: type[Recording], error: type[Exception]) -> None:
    recording = webhooks.deliveries.recording
    webhooks.deliveries.recording = broken(recording.engine, recording.schedule)
    with pytest.raises(error):
        webhooks.deliveries.record_once()
    webhooks.deliveries.recording = recording


def test_an_attempt_whose_record_got_no_answer_is_counted_once(webhooks: Webhooks) -> None:
    webhooks.receiver.status = 500
    webhooks.finish_job()
    webhooks.begin().make()
    _fail_to_record(webhooks, _Unanswered, OperationalError)
    assert webhooks.deliveries.record_once() == 1
    assert (webhooks.row().state, webhooks.row().attempt_count) == ("PENDING", 1)
    assert [made.http_status for made in webhooks.attempts()] == [500]
    (target,) = webhooks.pipeline.rows("SELECT failures FROM webhook_targets")
    assert target.failures == 1


def test_a_fault_of_ours_in_a_record_gives_the_places_back_and_the_webhook_goes_when_its_lease_ends(
    webhooks: Webhooks,
) -> None:
    webhooks.deliveries.slots = 1
    webhooks.finish_job()
    webhooks.begin().make()
    _fail_to_record(webhooks, _Broken, LookupError)
    webhooks.due()
    assert webhooks.deliver() == 1
    assert webhooks.row().state == "DELIVERED"


def test_a_fault_of_ours_in_an_attempt_gives_its_place_back_and_the_webhook_goes_when_its_lease_ends(
    webhooks: Webhooks,
) -> None:
    webhooks.deliveries.slots = 1
    webhooks.finish_job()
    whole = webhooks.deliveries.delivering

    def broken(message: WebhookMessage) -> dict[str, str]:
        raise KeyError(message.webhook_id)

    webhooks.deliveries.delivering = replace(whole, dialect_headers={"pixazo": broken})
    webhooks.deliver()
    assert (webhooks.receiver.got, webhooks.attempts(), webhooks.row().state) == ([], [], "PENDING")
    webhooks.deliveries.delivering = whole
    webhooks.due()
    assert webhooks.deliver() == 1
    assert webhooks.row().state == "DELIVERED"


def test_a_target_that_turned_private_is_blocked_and_dies_after_three_attempts(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.pipeline.execute("UPDATE deliveries SET url = 'https://10.1.2.3/hook'")
    for _ in range(3):
        webhooks.due()
        webhooks.deliver()
    assert webhooks.row().state == "DEAD"
    assert {made.outcome for made in webhooks.attempts()} == {"blocked_destination"}
    assert webhooks.receiver.got == []
