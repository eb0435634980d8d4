"""Create batches and append to them; the same batch again is answered with the first one.

Source: docs/design/backfills.md, "The same batch again".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.batches import OPEN_BATCHES, Dedupe
from imagequeue.domain.errors import AlreadyFinal, IdempotencyMismatch, InvalidRequest, NotFound
from imagequeue.domain.ids import file_name, new_id
from imagequeue.runtime import Runtime
from imagequeue.store.batches import batches
from imagequeue.store.batches.batches import EarlierBatch, NewBatch
from imagequeue.store.batches.files import StoredFile, find_file

_PARAMETERS = (
    "endpoint",
    "dry_run",
    "dedupe",
    "weight",
    "budget_usd",
    "keep_available_usd",
    "max_failure_rate",
    "on_unknown",
    "line_limit",
    "webhook_url",
    "line_webhooks",
    "metadata",
    "completion_window",
    "output_expires_after_seconds",
)
"""Fields of a `NewBatch` that make it another batch; deadlines in seconds are other times in each request."""


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """What a client orders: `batch` without its id and digests, and the `body` of the request as it came.

    `retry_count` is how often the client says that it has repeated the request; None: it says nothing.
    """

    batch: NewBatch
    body: bytes
    retry_count: int | None = None


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """A batch that is in the database. `replayed`: an earlier request has made it."""

    batch_id: UUID
    replayed: bool = False


def new_batch(account_id: UUID, api_key_id: UUID, input_file_id: UUID, **terms: Any) -> NewBatch:
    """A batch as a `BatchOrder` has it; `terms` are fields of `NewBatch`."""
    return NewBatch(new_id(), account_id, api_key_id, input_file_id, b"", b"", **terms)


def create_batch(runtime: Runtime, order: BatchOrder) -> CreatedBatch:
    """Insert a batch, whose file is then validated; or find the one that the same request has made.

    Raises:
        InvalidRequest: the account has no such file.
        IdempotencyMismatch: the key was used for another batch.
        DBAPIError: the database is away.
    """
    digest = hashlib.sha256(order.body).digest()
    with runtime.engine.begin() as connection:
        batches.create_alone(connection, order.batch.account_id)
        earlier = _repeated(connection, order, digest)
        if earlier is not None:
            return CreatedBatch(earlier.id, replayed=True)
        file = _file(connection, order.batch.account_id, order.batch.input_file_id)
        batch = replace(order.batch, fingerprint=_fingerprint(file, order.batch), request_digest=digest)
        earlier = _same(connection, batch)
        if earlier is not None:
            return CreatedBatch(earlier.id, replayed=True)
        batches.insert_batch(connection, batch)
    return CreatedBatch(batch.id)


def append_part(runtime: Runtime, account_id: UUID, batch_id: UUID, file_id: UUID) -> int:
    """Append the lines of a file to a batch that is open; they run when all of them are valid.

    Returns:
        The number of the part.

    Raises:
        NotFound: the account has no such batch.
        AlreadyFinal: it takes no more lines.
        InvalidRequest: the account has no such file.
        DBAPIError: the database is away.
    """
    with runtime.engine.begin() as connection:
        state = batches.lock_state(connection, account_id, batch_id)
        if state is None:
            raise NotFound
        if state not in OPEN_BATCHES:
            raise AlreadyFinal(f"A batch that is {state} takes no lines")
        _file(connection, account_id, file_id)
        return batches.add_part(connection, batch_id, file_id)


def _file(connection: Connection, account_id: UUID, file_id: UUID) -> StoredFile:
    found = find_file(connection, account_id, file_id, lock=True)
    if found is None:
        raise InvalidRequest(f"input_file_id: no file '{file_name(file_id)}'")
    return found


def _fingerprint(file: StoredFile, batch: NewBatch) -> bytes:
    """What two batches must share to be the same: the bytes of the file and all parameters, not its id."""
    parameters = {name: getattr(batch, name) for name in _PARAMETERS}
    written = json.dumps(parameters, default=str, sort_keys=True)
    return hashlib.sha256(file.sha256 + written.encode()).digest()


def _repeated(connection: Connection, order: BatchOrder, digest: bytes) -> EarlierBatch | None:
    """The batch that the same request has made, byte for byte; its file may be deleted by now."""
    batch = order.batch
    if batch.idempotency_key is not None:
        earlier = batches.find_by_key(connection, batch.account_id, batch.idempotency_key)
        return earlier if earlier is not None and earlier.request_digest == digest else None
    return batches.find_by_body(connection, batch.api_key_id, digest) if order.retry_count else None


def _same(connection: Connection, batch: NewBatch) -> EarlierBatch | None:
    """The batch of the same file and parameters that has the key, or that `dedupe` asks for.

    Raises:
        IdempotencyMismatch: the key was used for another batch.
    """
    if batch.idempotency_key is not None:
        earlier = batches.find_by_key(connection, batch.account_id, batch.idempotency_key)
        if earlier is not None and earlier.fingerprint != batch.fingerprint:
            raise IdempotencyMismatch
        if earlier is not None:
            return earlier
    if batch.dedupe is Dedupe.FILE:
        return batches.find_by_file(connection, batch.account_id, batch.fingerprint)
    return None
