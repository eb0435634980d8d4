"""The events of a batch: written into the outbox by whoever moves the batch, in that very transaction.

The batch's own `X-Webhook-URL` gets the bare data, as that of a job gets the bare status body. The endpoints
of the account that asked for the type get the data inside an event (docs/design/webhooks.md, "Endpoints").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.ids import new_id
from imagequeue.domain.webhook_events import BATCH_EVENTS, event_body, wants
from imagequeue.domain.webhooks import first_attempt_at, target_of
from imagequeue.store.outbox import NewDelivery, write_deliveries
from imagequeue.store.webhook_endpoints import endpoints_of


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """Something that happened to a batch, at `now` on the database's clock.

    `event_type` is one of `BATCH_EVENTS`. `data` is JSON as it is to be sent: the batch's id, its state and
    its counts, and for a pause the reason. `webhook_url` is the batch's own, which the egress guard's grammar
    has accepted; None: it has none.
    """

    account_id: UUID
    batch_id: UUID
    event_type: str
    data: str
    now: datetime
    webhook_url: str | None = None


def write_batch_event(connection: Connection, event: BatchEvent, schedule: Sequence[float]) -> int:
    """Write the webhooks of an event in the caller's transaction; to how many URLs at most.

    Each call is an event of its own, so the caller calls it once for each change of the batch. A URL that is
    both the batch's and an endpoint's gets one webhook, the batch's.

    Args:
        connection: the transaction in which the batch changes; nothing is committed here.
        event: what happened.
        schedule: seconds before each delivery attempt (`IMAGEQUEUE_WEBHOOK_SCHEDULE`).

    Raises:
        ValueError: there is no such type.
    """
    if event.event_type not in BATCH_EVENTS:
        raise ValueError(f"{event.event_type} is no event of a batch")
    new = list(_deliveries(connection, event, schedule))
    write_deliveries(connection, new)
    return len(new)


def _deliveries(
    connection: Connection, event: BatchEvent, schedule: Sequence[float]
) -> Iterator[NewDelivery]:
    event_id, random = new_id(), Random()  # noqa: S311  # jitter is no secret

    def to(url: str, target: str, body: str, endpoint_id: UUID | None) -> NewDelivery:
        due = first_attempt_at(schedule, event.now, random)
        of_batch = (endpoint_id, event.batch_id, event_id)
        return NewDelivery(event.account_id, None, url, target, body, due, *of_batch)

    if event.webhook_url:  # the first: where an endpoint has the same URL, it is the one that stays
        yield to(event.webhook_url, target_of(event.webhook_url), event.data, None)
    body = event_body(f"evt_{event_id}", event.event_type, event.now, event.data)
    for one in endpoints_of(connection, [event.account_id]):
        if wants(one.event_types, event.event_type):
            yield to(one.url, one.target, body, one.id)
