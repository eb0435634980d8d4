"""Deliver: post one webhook, signed, through the egress guard, and record the delivery attempt.

When a delivery is due is `next_attempt_at` in Postgres and nothing else. `Deliveries`, a loop of the
dispatcher, claims what is due, target by target (`claim.py`), and sends its doorbells. `Delivering`, in a
worker, begins the attempt under a fence, posts outside of any transaction, and records what came of it,
provided that no other worker has begun a later attempt. What an answer means is in `domain/webhooks.py`.
Source: docs/design/webhooks.md, "Claim".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from imagequeue.domain import webhooks
from imagequeue.domain.backoff import WEBHOOK_SIGNING
from imagequeue.domain.errors import ConfigurationError, InvalidRequest
from imagequeue.domain.webhook_targets import AttemptEffect, after_attempt, is_news
from imagequeue.domain.webhooks import Action, DeliveryOutcome, WebhookMessage
from imagequeue.egress.client import WEBHOOK_LIMITS, GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import EgressError
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.deliver.claim import Places, claim
from imagequeue.signing import Keyring, sign
from imagequeue.store import deliveries, processes, webhook_targets
from imagequeue.store.deliveries import ClaimedDelivery, DeliveryAttempt, DeliveryTask

log = structlog.get_logger()

OVERDUE_AT_ONCE = 1000
"""Deliveries that one transaction ends by their age."""

OVERDUE_SECONDS = 10.0
"""Between two looks for them: their limit is days."""

WAITING_AT_MOST = 200
"""Doorbells of deliveries that wait in Redis. More stay due in Postgres until workers have taken some.

Workers take a few hundred in a second, and each says that it has a place free again.
"""

_STATES = {Action.DELIVERED: "DELIVERED", Action.DEAD: "DEAD", Action.RETRY: "PENDING"}


@dataclass(slots=True)
class Deliveries:
    """Claims what is due. `release` sends the doorbells; a delivery whose doorbell is lost is due again.

    `waiting` counts the doorbells that wait in Redis; None while Redis is away. Then nothing is claimed.
    `schedule` has the seconds before each attempt, by which the age limit is counted.

    Only where the scan of an account with very many targets goes on is in memory; what is known of a target
    is in its row.
    """

    engine: Engine
    release: Callable[[Sequence[ClaimedDelivery]], None]
    waiting: Callable[[], int | None]
    schedule: Sequence[float]
    _after: Mapping[UUID, str] = field(default_factory=dict[UUID, str])

    def run_once(self) -> int:
        """Claim and release deliveries that are due, as many as workers and Redis have room for; how many."""
        waiting = self.waiting()
        if waiting is None or waiting >= WAITING_AT_MOST:
            return 0
        with self.engine.begin() as connection:
            claimed = self._claim(connection, waiting)
        failpoint("deliver.claimed")
        if claimed:
            self.release(claimed)
        return len(claimed)

    def end_overdue(self) -> int:
        """Let deliveries be DEAD that are older than the schedule can explain; how many."""
        with self.engine.begin() as connection:
            return deliveries.end_overdue(connection, webhooks.age_limit(self.schedule), OVERDUE_AT_ONCE)

    def _claim(self, connection: Connection, waiting: int) -> list[ClaimedDelivery]:
        slots = processes.delivery_slots(connection)
        if not slots:
            return []
        found = webhook_targets.scan(connection, self._after)
        self._after = found.cut
        return claim(connection, found.due, Places(slots, waiting, WAITING_AT_MOST)) if found.due else []


@dataclass(frozen=True, slots=True)
class Delivering:
    """Makes delivery attempts. `schedule` has the seconds before each one, counted from the one before.

    `dialect_headers` has the dialects that identify and sign attempts in their own way, by name; all others
    do as Standard Webhooks says. `ended` is called after each attempt, because its place is free again.
    """

    engine: Engine
    client: GuardedClient
    keyring: Keyring
    schedule: Sequence[float]
    dialect_headers: Mapping[str, Callable[[WebhookMessage], dict[str, str]]]
    ended: Callable[[], None]
    limits: Limits = WEBHOOK_LIMITS
    random: Random = field(default_factory=Random)

    def run(self, claimed: ClaimedDelivery) -> None:
        """Make one delivery attempt and record it, unless another doorbell has begun it already."""
        with self.engine.begin() as connection:
            task = deliveries.begin_attempt(connection, claimed, webhooks.BLOCKED)
        if task is None:
            return
        failpoint("deliver.begun")
        try:
            made, outcome = self._attempt(task)
        except ConfigurationError as error:
            log.warning("delivery_postponed", delivery_id=str(claimed.id), reason=error.message)
            with self.engine.begin() as connection:
                deliveries.lease_back(connection, task, WEBHOOK_SIGNING.first_seconds)
            return
        failpoint("deliver.sent")
        self._record(task, made, outcome)
        self.ended()

    def _attempt(self, task: DeliveryTask) -> tuple[DeliveryAttempt, DeliveryOutcome]:
        started = time.monotonic()
        status, answer, outcome = self._post(task)
        latency = round((time.monotonic() - started) * 1000)
        return DeliveryAttempt(latency, status, outcome.reason, webhooks.excerpt(answer)), outcome

    def _post(self, task: DeliveryTask) -> tuple[int | None, bytes, DeliveryOutcome]:
        if task.webhook_secrets is None:
            return None, b"", webhooks.ENDPOINT_DELETED
        body = task.body.encode()
        headers = self._headers(task, task.webhook_secrets, body)
        try:
            destination = self.client.destination(task.url)
            receipt = self.client.post(destination, body, headers, limits=self.limits)
        except InvalidRequest:  # the operator's lists have changed since the submit
            return None, b"", webhooks.judge_failure(webhooks.BLOCKED, task.blocked_before)
        except EgressError as error:
            return None, b"", webhooks.judge_failure(error.code, task.blocked_before)
        outcome = webhooks.judge_status(receipt.status, receipt.header("retry-after"), task.now)
        return receipt.status, receipt.body, outcome

    def _headers(self, task: DeliveryTask, sealed: str, body: bytes) -> dict[str, str]:
        secrets = self.keyring.decrypt(sealed).split()
        if not task.old_secrets_sign:
            secrets = secrets[:1]
        message = WebhookMessage(task.webhook_id, task.account_id, task.now, body, secrets)
        return {
            "Content-Type": "application/json",
            "x-webhook-attempt": str(task.attempt_count + 1),
            **self.dialect_headers.get(task.dialect or "", _standard)(message),
        }

    def _record(self, task: DeliveryTask, made: DeliveryAttempt, outcome: DeliveryOutcome) -> None:
        due = None
        if outcome.action is Action.RETRY:
            due = webhooks.next_attempt_at(
                self.schedule,
                task.attempt_count + 1 - task.schedule_from,
                task.now,
                jitter=self.random.random(),
                pause_until=outcome.pause_until,
            )
        exhausted = outcome.action is Action.RETRY and due is None
        state = "DEAD" if exhausted else _STATES[outcome.action]
        with self.engine.begin() as connection:
            self._record_target(connection, task, made, outcome)
            if not deliveries.record_attempt(connection, task, made, state=state, next_attempt_at=due):
                connection.rollback()
        log.info("delivery_tried", delivery_id=str(task.id), outcome=made.outcome, state=state)

    def _record_target(
        self, connection: Connection, task: DeliveryTask, made: DeliveryAttempt, outcome: DeliveryOutcome
    ) -> None:
        """Tell the target's row what the attempt showed; the row is locked before that of the delivery."""
        answered = made.http_status is not None
        effect = AttemptEffect(outcome, made.latency_ms / 1000, answered, task.now)
        known = webhook_targets.read(connection, task.target_key)
        if not is_news(known, after_attempt(known, effect, self.random), effect):
            return
        known = webhook_targets.lock_one(connection, task.target_key)
        webhook_targets.write(connection, task.target_key, after_attempt(known, effect, self.random))


def _standard(message: WebhookMessage) -> dict[str, str]:
    return sign(message.webhook_id, message.timestamp, message.body, message.secrets)
