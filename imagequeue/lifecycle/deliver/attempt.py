"""One delivery attempt: sign, post through the egress guard, and say what came of it. No database.

What an answer means is in `domain/webhooks.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imagequeue.domain import webhooks
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.webhooks import DeliveryOutcome, WebhookMessage
from imagequeue.egress.client import WEBHOOK_LIMITS, GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import EgressError
from imagequeue.signing import Keyring, sign
from imagequeue.store.deliveries import DeliveryAttempt, DeliveryTask


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """A delivery attempt that is over: what the log will show, and what it means. It is not recorded yet."""

    task: DeliveryTask
    made: DeliveryAttempt
    outcome: DeliveryOutcome


@dataclass(frozen=True, slots=True)
class Delivering:
    """Makes delivery attempts. Shared by threads.

    `dialect_headers` has the dialects that identify and sign attempts in their own way, by name; all others
    do as Standard Webhooks says.
    """

    client: GuardedClient
    keyring: Keyring
    dialect_headers: Mapping[str, Callable[[WebhookMessage], dict[str, str]]]
    limits: Limits = WEBHOOK_LIMITS

    def attempt(self, task: DeliveryTask) -> EndedAttempt:
        """Make the attempt; it takes at most 15 s.

        Raises:
            ConfigurationError: no key decrypts the secrets that sign; nothing was sent.
        """
        started = time.monotonic()
        status, answer, outcome = self._post(task)
        latency = round((time.monotonic() - started) * 1000)
        made = DeliveryAttempt(latency, status, outcome.reason, webhooks.excerpt(answer))
        return EndedAttempt(task, made, outcome)

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


def _standard(message: WebhookMessage) -> dict[str, str]:
    return sign(message.webhook_id, message.timestamp, message.body, message.secrets)
