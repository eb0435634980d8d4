"""The rows of batches: made with their first part and their counters, found again by what made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import BatchState, Dedupe, OnUnknown

RETRY_SECONDS = 600
"""How long a batch is found again by the body of its creation, for clients that count their retries."""


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to insert. `fingerprint` and `request_digest` have 32 bytes; times are aware."""

    id: UUID
    account_id: UUID
    api_key_id: UUID
    input_file_id: UUID
    fingerprint: bytes
    request_digest: bytes
    endpoint: str | None = None
    idempotency_key: str | None = None
    dry_run: bool = False
    dedupe: Dedupe = Dedupe.OFF
    weight: int = 1
    budget_usd: Decimal | None = None
    keep_available_usd: Decimal = Decimal(0)
    max_failure_rate: float = 0.5
    on_unknown: OnUnknown = OnUnknown.RETRY
    line_limit: int | None = None
    webhook_url: str | None = None
    line_webhooks: bool = False
    client_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Any] | None = None
    completion_window: str = "24h"
    output_expires_after_seconds: int | None = None
    start_by: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EarlierBatch:
    """A batch that an earlier request has made."""

    id: UUID
    fingerprint: bytes
    request_digest: bytes


# Creations of one account happen one after the other, so that two of the same batch make one.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('batches of ' || :account_id, 0))")

_BY_KEY = text("""
    SELECT id, fingerprint, request_digest FROM batches
    WHERE account_id = :account_id AND idempotency_key = :key
""")

_BY_BODY = text("""
    SELECT id, fingerprint, request_digest FROM batches
    WHERE api_key_id = :api_key_id AND request_digest = :digest
        AND created_at > clock_timestamp() - make_interval(secs => :seconds)
    ORDER BY created_at DESC LIMIT 1
""")

_BY_FILE = text("""
    SELECT id, fingerprint, request_digest FROM batches
    WHERE account_id = :account_id AND fingerprint = :fingerprint
        AND state NOT IN ('failed', 'cancelling', 'cancelled', 'expired') AND NOT expiring
    ORDER BY id DESC LIMIT 1
""")

_INSERT = text("""
    INSERT INTO batches (id, account_id, api_key_id, input_file_id, fingerprint, request_digest, endpoint,
        idempotency_key, dry_run, dedupe, weight, budget_usd, keep_available_usd, max_failure_rate,
        on_unknown, line_limit, webhook_url, line_webhooks, client_headers, metadata, completion_window,
        output_expires_after_seconds, start_by, expires_at)
    VALUES (:id, :account_id, :api_key_id, :input_file_id, :fingerprint, :request_digest, :endpoint,
        :idempotency_key, :dry_run, :dedupe, :weight, :budget_usd, :keep_available_usd, :max_failure_rate,
        :on_unknown, :line_limit, :webhook_url, :line_webhooks, CAST(:client_headers AS jsonb),
        CAST(:metadata AS jsonb), :completion_window, :output_expires_after_seconds, :start_by, :expires_at)
""")

_COUNTERS = text("INSERT INTO batch_counters (batch_id) VALUES (:id)")

_PART = text("""
    INSERT INTO batch_parts (batch_id, part, file_id, first_number)
    SELECT :batch_id, 1 + count(*), :file_id, 1 FROM batch_parts WHERE batch_id = :batch_id
    RETURNING part
""")

_STATE = text("""
    SELECT state FROM batches WHERE id = :id AND account_id = :account_id FOR NO KEY UPDATE
""")


def create_alone(connection: Connection, account_id: UUID) -> None:
    """Let no other transaction make batches of the account until this one ends."""
    connection.execute(_ALONE, {"account_id": str(account_id)})


def find_by_key(connection: Connection, account_id: UUID, key: str) -> EarlierBatch | None:
    """The batch that was made with an Idempotency-Key."""
    return _earlier(connection, _BY_KEY, {"account_id": account_id, "key": key})


def find_by_body(connection: Connection, api_key_id: UUID, digest: bytes) -> EarlierBatch | None:
    """The batch that a request with the same key and body has made within `RETRY_SECONDS`."""
    values = {"api_key_id": api_key_id, "digest": digest, "seconds": RETRY_SECONDS}
    return _earlier(connection, _BY_BODY, values)


def find_by_file(connection: Connection, account_id: UUID, fingerprint: bytes) -> EarlierBatch | None:
    """The account's newest batch of this file and these parameters that did not end without its results."""
    return _earlier(connection, _BY_FILE, {"account_id": account_id, "fingerprint": fingerprint})


def insert_batch(connection: Connection, new: NewBatch) -> None:
    """Insert a batch whose file is to be validated."""
    values = {name: getattr(new, name) for name in NewBatch.__dataclass_fields__}
    values |= {
        "dedupe": new.dedupe.value,
        "on_unknown": new.on_unknown.value,
        "client_headers": json.dumps(dict(new.client_headers)),
        "metadata": None if new.metadata is None else json.dumps(dict(new.metadata)),
    }
    connection.execute(_INSERT, values)
    connection.execute(_COUNTERS, {"id": new.id})
    add_part(connection, new.id, new.input_file_id)


def add_part(connection: Connection, batch_id: UUID, file_id: UUID) -> int:
    """Add a file of lines to a batch whose row is locked, or new; the number of the part."""
    return connection.execute(_PART, {"batch_id": batch_id, "file_id": file_id}).scalar_one()


def lock_state(connection: Connection, account_id: UUID, batch_id: UUID) -> BatchState | None:
    """The state of an account's batch, whose row is locked until the transaction ends; None: it has none."""
    found = connection.execute(_STATE, {"id": batch_id, "account_id": account_id}).scalar_one_or_none()
    return BatchState(found) if found else None


def _earlier(connection: Connection, statement: Any, values: Mapping[str, Any]) -> EarlierBatch | None:
    row = connection.execute(statement, values).one_or_none()
    if row is None:
        return None
    return EarlierBatch(row.id, bytes(row.fingerprint), bytes(row.request_digest))
