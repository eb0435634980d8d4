"""What is written into the outbox: always in the transaction that makes the event happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from imagequeue.domain.ids import new_id
from imagequeue.store.tables import deliveries


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A webhook for the outbox: to the own URL of a job or batch, or of an event to an endpoint.

    `due`: when its first delivery attempt is. Either `job_id` is given or, for an event of a batch,
    `batch_id` and `event_id`: a job has one event, its end, but a batch may be paused again and again.
    """

    account_id: UUID
    job_id: UUID | None
    url: str
    target: str
    body: str
    due: datetime
    endpoint_id: UUID | None = None
    batch_id: UUID | None = None
    event_id: UUID | None = None


def write_deliveries(connection: Connection, new: Sequence[NewDelivery]) -> None:
    """Write webhooks into the outbox. Of two of one event to the same URL the first one stays."""
    rows = [_delivery(one, new_id()) for one in new]
    if rows:
        connection.execute(postgresql.insert(deliveries).on_conflict_do_nothing(), rows)


def _delivery(new: NewDelivery, delivery_id: UUID) -> dict[str, object]:
    return {
        "id": delivery_id,
        "account_id": new.account_id,
        "job_id": new.job_id,
        "batch_id": new.batch_id,
        "event_id": new.event_id,
        "endpoint_id": new.endpoint_id,
        "webhook_id": f"msg_{delivery_id}",
        "url": new.url,
        "target": new.target,
        "body": new.body,
        "next_attempt_at": new.due,
    }
