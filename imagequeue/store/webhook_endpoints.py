"""The endpoints of accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql

from imagequeue.domain.ids import new_id
from imagequeue.store.tables import webhook_endpoints

_COLUMNS = "id, account_id, name, url, target, event_types, created_at, updated_at"

_LOCK_ACCOUNT = text("SELECT FROM accounts WHERE id = :account_id FOR NO KEY UPDATE")

_COUNT = text("SELECT count(*) FROM webhook_endpoints WHERE account_id = :account_id")

_READ = text(f"""
    SELECT {_COLUMNS} FROM webhook_endpoints WHERE account_id = :account_id AND id = :id
""")  # noqa: S608  # ours

_LIST = text(f"""
    SELECT {_COLUMNS} FROM webhook_endpoints
    WHERE account_id = :account_id AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :most
""")  # noqa: S608

_OF_ACCOUNTS = text(f"""
    SELECT {_COLUMNS} FROM webhook_endpoints
    WHERE account_id = ANY(ARRAY(SELECT unnest(CAST(:account_ids AS uuid[])))) ORDER BY id
""")  # noqa: S608

_CHANGE = text(f"""
    UPDATE webhook_endpoints
    SET name = :name, url = :url, target = :target, event_types = :event_types, updated_at = clock_timestamp()
    WHERE account_id = :account_id AND id = :id
    RETURNING {_COLUMNS}
""")  # noqa: S608

_DELETE = text("DELETE FROM webhook_endpoints WHERE account_id = :account_id AND id = :id")


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where an account wants to be told of events, whatever the request."""

    id: UUID
    account_id: UUID
    name: str
    url: str
    target: str
    event_types: Sequence[str]
    created_at: datetime
    updated_at: datetime


def count_endpoints(connection: Connection, account_id: UUID) -> int:
    """How many endpoints an account has; until the commit nobody else counts them."""
    connection.execute(_LOCK_ACCOUNT, {"account_id": account_id})
    return connection.execute(_COUNT, {"account_id": account_id}).scalar_one()


def create_endpoint(connection: Connection, account_id: UUID, fields: Mapping[str, Any]) -> WebhookEndpoint:
    """Insert an endpoint. `fields`: name, url, target, event_types, and webhook_secrets, encrypted."""
    made = postgresql.insert(webhook_endpoints).values(id=new_id(), account_id=account_id, **fields)
    columns = [webhook_endpoints.c[name] for name in _COLUMNS.split(", ")]
    return WebhookEndpoint(*connection.execute(made.returning(*columns)).one())


def read_endpoint(connection: Connection, account_id: UUID, endpoint_id: UUID) -> WebhookEndpoint | None:
    """An endpoint of an account."""
    row = connection.execute(_READ, {"account_id": account_id, "id": endpoint_id}).one_or_none()
    return WebhookEndpoint(*row) if row else None


def list_endpoints(
    connection: Connection, account_id: UUID, before: UUID | None, most: int
) -> list[WebhookEndpoint]:
    """The endpoints of an account, newest first; `before`: only those that are older than that one."""
    rows = connection.execute(_LIST, {"account_id": account_id, "before": before, "most": most})
    return [WebhookEndpoint(*row) for row in rows]


def endpoints_of(connection: Connection, account_ids: Sequence[UUID]) -> list[WebhookEndpoint]:
    """The endpoints of several accounts."""
    return [
        WebhookEndpoint(*row) for row in connection.execute(_OF_ACCOUNTS, {"account_ids": list(account_ids)})
    ]


def change_endpoint(connection: Connection, changed: WebhookEndpoint) -> WebhookEndpoint | None:
    """Store name, url, target and types; None: the endpoint is deleted."""
    given = {
        "account_id": changed.account_id,
        "id": changed.id,
        "name": changed.name,
        "url": changed.url,
        "target": changed.target,
        "event_types": list(changed.event_types),
    }
    row = connection.execute(_CHANGE, given).one_or_none()
    return WebhookEndpoint(*row) if row else None


def delete_endpoint(connection: Connection, account_id: UUID, endpoint_id: UUID) -> bool:
    """Delete an endpoint. Deliveries that are pending keep its id, and die at their next attempt."""
    return connection.execute(_DELETE, {"account_id": account_id, "id": endpoint_id}).rowcount > 0
