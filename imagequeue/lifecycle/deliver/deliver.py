"""Deliver: post one webhook, signed, through the egress guard, and record the delivery attempt.

When a delivery is due is `next_attempt_at` in Postgres and nothing else. `Deliveries`, a loop of the
dispatcher, claims what is due and sends its doorbells. `Delivering`, in a worker, begins the attempt under a
fence, posts outside of any transaction, and records what came of it, provided that no other worker has begun
a later attempt (docs/design/webhooks.md, "Claim"). What an answer means is in `domain/webhooks.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import structlog
from sqlalchemy import Engine

from imagequeue.domain import webhooks
from imagequeue.domain.backoff import WEBHOOK_SIGNING
from imagequeue.domain.errors import ConfigurationError, InvalidRequest
from imagequeue.domain.webhooks import Action, DeliveryOutcome, WebhookMessage
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import EgressError
from imagequeue.egress.grammar import check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.failpoint import failpoint
from imagequeue.signing import Keyring, sign
from imagequeue.store import deliveries
from imagequeue.store.deliveries import ClaimedDelivery, DeliveryAttempt, DeliveryTask

log = structlog.get_logger()

CLAIM_AT_ONCE = 100
"""Deliveries that one transaction claims, so that its locks are held for milliseconds."""

WAITING_AT_MOST = 200
"""Doorbells of deliveries that wait in Redis. More stay due in Postgres until workers have taken some.

Workers take a few hundred in a second, and the next look of the loop is at most 250 ms away.
"""

_STATES = {Action.DELIVERED: "DELIVERED", Action.DEAD: "DEAD", Action.RETRY: "PENDING"}


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Claims what is due. `release` sends the doorbells; a delivery whose doorbell is lost is due again.

    `waiting` counts the doorbells that wait in Redis; None while Redis is away. Then nothing is claimed.
    """

    engine: Engine
    release: Callable[[Sequence[ClaimedDelivery]], None]
    waiting: Callable[[], int | None]

    def run_once(self) -> int:
        """Claim and release deliveries that are due, as many as Redis has room for; how many."""
        waiting = self.waiting()
        room = 0 if waiting is None else min(CLAIM_AT_ONCE, WAITING_AT_MOST - waiting)
        if waiting is None or room <= 0:
            return 0
        with self.engine.begin() as connection:
            claimed = deliveries.claim_due(connection, room, waiting, WAITING_AT_MOST)
        if claimed:
            self.release(claimed)
        return len(claimed)


@dataclass(frozen=True, slots=True)
class Delivering:
    """Makes delivery attempts. `schedule` has the seconds before each one, counted from the one before.

    `dialect_headers` has the dialects that identify and sign attempts in their own way, by name; all others
    do as Standard Webhooks says.
    """

    engine: Engine
    client: GuardedClient
    policy: EgressPolicy
    keyring: Keyring
    schedule: Sequence[float]
    dialect_headers: Mapping[str, Callable[[WebhookMessage], dict[str, str]]]
    random: Random = field(default_factory=Random)

    def run(self, claimed: ClaimedDelivery) -> None:
        """Make one delivery attempt and record it, unless another doorbell has begun it already."""
        with self.engine.begin() as connection:
            task = deliveries.begin_attempt(connection, claimed, webhooks.BLOCKED)
        if task is None:
            return
        try:
            made, outcome = self._attempt(task)
        except ConfigurationError as error:
            log.warning("delivery_postponed", delivery_id=str(claimed.id), reason=error.message)
            with self.engine.begin() as connection:
                deliveries.lease_back(connection, task, WEBHOOK_SIGNING.first_seconds)
            return
        failpoint("deliver.sent")
        self._record(task, made, outcome)

    def _attempt(self, task: DeliveryTask) -> tuple[DeliveryAttempt, DeliveryOutcome]:
        started = time.monotonic()
        status, answer, outcome = self._post(task)
        latency = round((time.monotonic() - started) * 1000)
        return DeliveryAttempt(latency, status, outcome.reason, webhooks.excerpt(answer)), outcome

    def _post(self, task: DeliveryTask) -> tuple[int | None, bytes, DeliveryOutcome]:
        body = task.body.encode()
        headers = self._headers(task, body)
        try:
            destination = check_destination(task.url, self.policy)
            receipt = self.client.post(destination, body, headers)
        except InvalidRequest:  # the operator's lists have changed since the submit
            return None, b"", webhooks.judge_failure(webhooks.BLOCKED, task.blocked_before)
        except EgressError as error:
            return None, b"", webhooks.judge_failure(error.code, task.blocked_before)
        outcome = webhooks.judge_status(receipt.status, receipt.header("retry-after"), task.now)
        return receipt.status, receipt.body, outcome

    def _headers(self, task: DeliveryTask, body: bytes) -> dict[str, str]:
        secrets = self.keyring.decrypt(task.webhook_secrets).split()
        message = WebhookMessage(task.webhook_id, task.account_id, task.now, body, secrets)
        return {
            "Content-Type": "application/json",
            "x-webhook-attempt": str(task.attempt_count + 1),
            **self.dialect_headers.get(task.dialect, _standard)(message),
        }

    def _record(self, task: DeliveryTask, made: DeliveryAttempt, outcome: DeliveryOutcome) -> None:
        due = None
        if outcome.action is Action.RETRY:
            due = webhooks.next_attempt_at(
                self.schedule,
                task.attempt_count + 1,
                task.now,
                jitter=self.random.random(),
                pause_until=outcome.pause_until,
            )
        exhausted = outcome.action is Action.RETRY and due is None
        state = "DEAD" if exhausted else _STATES[outcome.action]
        with self.engine.begin() as connection:
            deliveries.record_attempt(connection, task, made, state=state, next_attempt_at=due)
        log.info("delivery_tried", delivery_id=str(task.id), outcome=made.outcome, state=state)


def _standard(message: WebhookMessage) -> dict[str, str]:
    return sign(message.webhook_id, message.timestamp, message.body, message.secrets)
