"""A test event: sent to an endpoint at once and once, through the egress guard, and not recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from imagequeue.domain.errors import NotFound
from imagequeue.domain.ids import new_id
from imagequeue.domain.status_body import encode, timestamp
from imagequeue.domain.webhook_events import event_body
from imagequeue.egress.errors import EgressError
from imagequeue.egress.grammar import check_destination
from imagequeue.runtime import Runtime
from imagequeue.signing import sign
from imagequeue.store.webhook_endpoints import WebhookEndpoint
from imagequeue.store.webhook_secrets import SecretOwner, read_secrets


@dataclass(frozen=True, slots=True)
class EventSent:
    """What an endpoint answered; without a status, `reason` says why there was no answer."""

    status: int | None
    reason: str


def send_test_event(runtime: Runtime, endpoint: WebhookEndpoint, event_type: str, now: datetime) -> EventSent:
    """Send an event with sample data, signed with the secrets of the endpoint.

    Raises:
        NotFound: the endpoint is gone.
        DestinationRefused: the operator's lists refuse its URL by now.
        ConfigurationError: IMAGEQUEUE_SECRET_KEY does not decrypt its secrets.
    """
    with runtime.engine.begin() as connection:
        stored = read_secrets(connection, SecretOwner.ENDPOINT, endpoint.id)
    if stored is None:
        raise NotFound
    secrets = runtime.keyring.decrypt(stored.sealed).split()
    event_id = new_id()
    data = encode({"test": True, "sent_at": timestamp(now)})
    body = event_body(f"evt_{event_id}", event_type, now, data).encode()
    headers = sign(f"msg_{event_id}", now, body, secrets if stored.overlaps else secrets[:1])
    destination = check_destination(endpoint.url, runtime.policy)
    try:
        receipt = runtime.guarded_client().post(
            destination, body, {"Content-Type": "application/json", "x-webhook-attempt": "1", **headers}
        )
    except EgressError as error:
        return EventSent(None, error.code)
    return EventSent(receipt.status, f"http_{receipt.status}")
