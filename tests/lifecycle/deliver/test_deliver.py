"""Callbacks: signed, retried by the schedule in Postgres, recorded, fenced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from svix.webhooks import Webhook as SvixWebhook

from imagequeue.domain.webhooks import DEFAULT_SCHEDULE, WebhookMessage
from imagequeue.lifecycle.deliver.deliver import Deliveries, Delivering
from imagequeue.store.deliveries import ClaimedDelivery
from tests.pipeline import Pipeline, RunningPipeline
from tests.servers import ServerThread


class Receiver:
    """Keeps what it gets and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.meanwhile: Callable[[], None] | None = None

    async def take(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        if self.meanwhile:
            await asyncio.to_thread(self.meanwhile)
        return Response("thank you", status_code=self.status)


class Callbacks:
    """A pipeline, a receiver, and the delivering between them."""

    def __init__(self, pipeline: Pipeline, receiver: Receiver, url: str) -> None:
        self.pipeline, self.receiver, self.url = pipeline, receiver, f"{url}/hook"
        runtime = pipeline.runtime
        self.claimed: list[ClaimedDelivery] = []
        self.deliveries = Deliveries(runtime.engine, self.claimed.extend)
        self.delivering = Delivering(
            runtime.engine, runtime.guarded_client(), runtime.policy, runtime.keyring, DEFAULT_SCHEDULE, {}
        )

    def finish_job(self) -> None:
        self.pipeline.submit(webhook_url=self.url)
        self.pipeline.run()

    def deliver(self) -> int:
        count = self.deliveries.run_once()
        while self.claimed:
            self.delivering.run(self.claimed.pop())
        return count

    def row(self) -> Any:
        (row,) = self.pipeline.rows("SELECT *, next_attempt_at - clock_timestamp() AS waits FROM deliveries")
        return row

    def tries(self) -> list[Any]:
        return self.pipeline.rows("SELECT * FROM delivery_attempts ORDER BY number")

    def secret(self) -> str:
        (row,) = self.pipeline.rows("SELECT webhook_secrets FROM accounts")
        return self.pipeline.runtime.keyring.decrypt(row.webhook_secrets)

    def due(self) -> None:
        self.pipeline.execute("UPDATE deliveries SET next_attempt_at = clock_timestamp()")


@pytest.fixture
def callbacks(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Callbacks]:
    receiver = Receiver()
    with ServerThread(Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])) as server:
        allow = server.url.removeprefix("http://")
        with RunningPipeline(engine, database_url, tmp_path, allow=allow) as running:
            yield Callbacks(running, receiver, server.url)


def test_the_callback_is_the_status_body_signed_for_both_packages(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    assert callbacks.deliver() == 1
    ((headers, body),) = callbacks.receiver.got
    (result,) = callbacks.pipeline.rows("SELECT body FROM job_results")
    assert body.decode() == result.body
    Webhook(callbacks.secret()).verify(body, headers)
    SvixWebhook(callbacks.secret()).verify(body, headers)
    assert headers["x-webhook-attempt"] == "1"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("imagequeue/")
    assert callbacks.row().state == "DELIVERED"
    (made,) = callbacks.tries()
    assert (made.http_status, made.outcome, made.response_excerpt) == (200, "http_200", "thank you")


def test_a_dialect_with_a_signature_of_its_own_signs_with_it(callbacks: Callbacks) -> None:
    got: list[WebhookMessage] = []

    def headers(message: WebhookMessage) -> dict[str, str]:
        got.append(message)
        return {"x-own-signature": "signed"}

    callbacks.delivering = replace(callbacks.delivering, dialect_headers={"pixazo": headers})
    callbacks.finish_job()
    callbacks.deliver()
    ((sent, body),) = callbacks.receiver.got
    (message,) = got
    assert (sent["x-own-signature"], sent["x-webhook-attempt"]) == ("signed", "1")
    assert "webhook-signature" not in sent
    assert (message.body, message.account_id) == (body, callbacks.pipeline.account_id)
    assert (message.secrets, message.webhook_id) == ([callbacks.secret()], callbacks.row().webhook_id)
    assert message.timestamp.tzinfo is not None


def test_a_failure_keeps_the_schedule_and_the_webhook_id(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.receiver.status = 500
    callbacks.deliver()
    row = callbacks.row()
    assert (row.state, row.attempt_count) == ("PENDING", 1)
    assert timedelta(seconds=3) < row.waits <= timedelta(seconds=6)
    assert callbacks.deliver() == 0
    callbacks.receiver.status = 200
    callbacks.due()
    callbacks.deliver()
    first, second = (headers for headers, _ in callbacks.receiver.got)
    assert first["webhook-id"] == second["webhook-id"]
    assert second["x-webhook-attempt"] == "2"
    assert [made.number for made in callbacks.tries()] == [1, 2]


def test_gone_is_dead_at_once(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.receiver.status = 410
    callbacks.deliver()
    assert callbacks.row().state == "DEAD"


def test_the_last_attempt_of_the_schedule_is_the_last(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.receiver.status = 500
    for _ in DEFAULT_SCHEDULE:
        callbacks.due()
        callbacks.deliver()
    row = callbacks.row()
    assert (row.state, row.attempt_count) == ("DEAD", len(DEFAULT_SCHEDULE))


def test_a_lost_doorbell_is_rung_again_after_a_quarter_of_a_minute(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.deliveries.run_once()
    callbacks.claimed.clear()
    assert timedelta(seconds=10) < callbacks.row().waits <= timedelta(seconds=15)
    callbacks.due()
    assert callbacks.deliver() == 1
    assert callbacks.row().state == "DELIVERED"


def test_of_two_doorbells_of_one_delivery_one_sends(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.deliveries.run_once()
    callbacks.due()
    callbacks.deliveries.run_once()
    first, second = callbacks.claimed
    callbacks.receiver.meanwhile = lambda: callbacks.delivering.run(second)
    callbacks.delivering.run(first)
    callbacks.delivering.run(first)
    assert len(callbacks.receiver.got) == len(callbacks.tries()) == 1
    assert callbacks.row().state == "DELIVERED"


def test_a_late_first_doorbell_is_as_good_as_the_second(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.deliveries.run_once()
    callbacks.due()
    callbacks.deliveries.run_once()
    callbacks.delivering.run(callbacks.claimed[0])
    assert callbacks.row().state == "DELIVERED", "however long the queue is, what is in it can be begun"


def test_a_try_that_is_made_has_its_whole_lease(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    waits = list[Any]()
    callbacks.receiver.meanwhile = lambda: waits.append(callbacks.row().waits)
    callbacks.deliver()
    (left,) = waits
    assert timedelta(seconds=30) < left <= timedelta(seconds=60)


def test_a_doorbell_that_outlived_its_try_does_not_send_before_the_schedule(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.receiver.status = 500
    callbacks.deliveries.run_once()

    def lease_over() -> None:
        callbacks.due()
        callbacks.deliveries.run_once()

    callbacks.receiver.meanwhile = lease_over
    first = callbacks.claimed.pop()
    callbacks.delivering.run(first)
    (second,) = callbacks.claimed
    callbacks.delivering.run(second)
    assert (len(callbacks.receiver.got), len(callbacks.tries())) == (1, 1)


def test_a_try_is_not_recorded_when_another_one_has_begun(callbacks: Callbacks) -> None:
    callbacks.finish_job()

    def taken_over() -> None:
        callbacks.receiver.meanwhile = None
        callbacks.receiver.status = 500
        callbacks.due()
        callbacks.deliver()
        callbacks.receiver.status = 200

    callbacks.receiver.meanwhile = taken_over
    callbacks.deliver()
    assert [made.http_status for made in callbacks.tries()] == [500]
    assert (callbacks.row().state, callbacks.row().attempt_count) == ("PENDING", 1)


def test_a_delivery_whose_worker_died_is_due_again_and_the_old_claim_is_fenced(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.deliveries.run_once()
    lost = callbacks.claimed.pop()
    assert callbacks.deliveries.run_once() == 0
    callbacks.due()
    callbacks.deliver()
    callbacks.delivering.run(lost)
    assert len(callbacks.receiver.got) == 1
    assert len(callbacks.tries()) == 1


def test_a_target_that_turned_private_is_blocked_and_dies_after_three_tries(callbacks: Callbacks) -> None:
    callbacks.finish_job()
    callbacks.pipeline.execute("UPDATE deliveries SET url = 'https://10.1.2.3/hook'")
    for _ in range(3):
        callbacks.due()
        callbacks.deliver()
    assert callbacks.row().state == "DEAD"
    assert {made.outcome for made in callbacks.tries()} == {"blocked_destination"}
    assert callbacks.receiver.got == []
