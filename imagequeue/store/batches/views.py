"""Batches as their owners see them: what was asked for, how far it is, and how fast it goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from imagequeue.domain.batches import BatchState, LineState, PauseReason

_COLUMNS = f"""
    batches.id, batches.state, reasons, endpoint, input_file_id, output_file_id, error_file_id, dedupe,
    weight, budget_usd, keep_available_usd, max_failure_rate, on_unknown, line_limit, webhook_url,
    line_webhooks, metadata, completion_window, start_by, expires_at, created_at, in_progress_at,
    finalizing_at, completed_at, failed_at, expired_at, cancelling_at, cancelled_at,
    total, {", ".join(f"batch_counters.{state}" for state in LineState)},
    finished, images, held_usd, spent_usd
"""
_FROM = f"SELECT {_COLUMNS} FROM batches JOIN batch_counters ON batch_counters.batch_id = batches.id"  # noqa: S608

_FIND = text(f"{_FROM} WHERE batches.id = :id AND account_id = :account_id")

_ANY = text(f"{_FROM} WHERE batches.id = ANY(:ids)")

_LIST = text(f"""
    {_FROM}
    WHERE account_id = :account_id AND NOT dry_run AND (CAST(:after AS uuid) IS NULL OR batches.id < :after)
        AND (CAST(:states AS text[]) IS NULL OR batches.state = ANY(CAST(:states AS text[])))
    ORDER BY batches.id DESC LIMIT :most
""")

_PARTS = text("""
    SELECT batch_parts.batch_id, file_id, batch_parts.state, byte_reached, size_bytes, line_count,
        skipped_count, image_count, price_usd, errors
    FROM batch_parts JOIN files ON files.id = file_id
    WHERE batch_parts.batch_id = ANY(:ids) ORDER BY batch_parts.batch_id, part
""")

# A batch has few flows: one for each model and kind of request in its file.
_RATES = text("""
    WITH flow AS (SELECT id FROM flows WHERE batch_id = :id), recent AS (
        SELECT finished_at, jobs.status FROM jobs
        WHERE flow_id IN (SELECT id FROM flow) AND finished_at > clock_timestamp() - interval '15 minutes'
    )
    SELECT
        count(*) FILTER (WHERE finished_at > clock_timestamp() - interval '1 minute') AS minute,
        count(*) AS quarter,
        (
            SELECT count(*) FROM jobs WHERE flow_id IN (SELECT id FROM flow) AND status = 'PROCESSING'
        ) AS running
    FROM recent
""")


_CLASSES = text("SELECT DISTINCT model_id, requirement FROM flows WHERE batch_id = :id")


@dataclass(frozen=True, slots=True)
class FlowClass:
    """What decides which deployments can serve some of a batch's lines."""

    model_id: str
    requirement: str


@dataclass(frozen=True, slots=True)
class PartView:
    """A file of lines and how far its validation is; `errors` are `{code, line, message, param}`."""

    file_id: UUID
    state: str
    byte_reached: int
    size_bytes: int
    line_count: int
    skipped_count: int
    image_count: int
    price_usd: Decimal | None
    errors: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch with its counters and parts; amounts in USD, times aware."""

    id: UUID
    state: BatchState
    reasons: Sequence[PauseReason]
    counts: dict[str, int]
    parts: Sequence[PartView]
    finished: int
    images: int
    held_usd: Decimal
    spent_usd: Decimal
    endpoint: str | None
    input_file_id: UUID
    output_file_id: UUID | None
    error_file_id: UUID | None
    dedupe: str
    weight: int
    budget_usd: Decimal | None
    keep_available_usd: Decimal
    max_failure_rate: float
    on_unknown: str
    line_limit: int | None
    webhook_url: str | None
    line_webhooks: bool
    metadata: dict[str, str] | None
    completion_window: str
    start_by: datetime | None
    expires_at: datetime | None
    created_at: datetime
    in_progress_at: datetime | None
    finalizing_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    expired_at: datetime | None
    cancelling_at: datetime | None
    cancelled_at: datetime | None

    @property
    def price_usd(self) -> Decimal:
        """What all lines cost at the prices of their validation."""
        return sum((part.price_usd or Decimal(0) for part in self.parts), Decimal(0))


@dataclass(frozen=True, slots=True)
class BatchPace:
    """Jobs of a batch that have a call, and those that ended in the last minute and in the last fifteen."""

    running: int
    last_minute: int
    last_quarter: int


def find_batch(connection: Connection, account_id: UUID, batch_id: UUID) -> BatchView | None:
    """A batch of an account."""
    found = connection.execute(_FIND, {"id": batch_id, "account_id": account_id}).mappings().all()
    return next(iter(_views(connection, found)), None)


def find_batches(connection: Connection, batch_ids: Sequence[UUID]) -> dict[UUID, BatchView]:
    """Batches by id, whosever they are."""
    found = connection.execute(_ANY, {"ids": list(batch_ids)}).mappings().all()
    return {one.id: one for one in _views(connection, found)}


def list_batches(
    connection: Connection,
    account_id: UUID,
    *,
    after: UUID | None,
    states: Collection[BatchState] | None,
    most: int,
) -> list[BatchView]:
    """The batches of an account, newest first, behind `after`."""
    values = {
        "account_id": account_id,
        "after": after,
        "states": None if states is None else [state.value for state in states],
        "most": most,
    }
    return _views(connection, connection.execute(_LIST, values).mappings().all())


def read_pace(connection: Connection, batch_id: UUID) -> BatchPace:
    """How fast a batch goes."""
    row = connection.execute(_RATES, {"id": batch_id}).one()
    return BatchPace(row.running, row.minute, row.quarter)


def flow_classes(connection: Connection, batch_id: UUID) -> list[FlowClass]:
    """The classes of a batch's lines: there are few."""
    return [FlowClass(*row) for row in connection.execute(_CLASSES, {"id": batch_id})]


def _views(connection: Connection, rows: Sequence[RowMapping]) -> list[BatchView]:
    parts: dict[UUID, list[PartView]] = {row["id"]: [] for row in rows}
    for row in connection.execute(_PARTS, {"ids": list(parts)}).mappings() if parts else ():
        part = dict(row)
        parts[part.pop("batch_id")].append(PartView(**part))
    return [_view(row, parts[row["id"]]) for row in rows]


def _view(row: RowMapping, parts: Sequence[PartView]) -> BatchView:
    found: dict[str, Any] = dict(row)
    counts: dict[str, int] = {name: found.pop(name) for name in ("total", *LineState)}
    found["state"] = BatchState(found["state"])
    found["reasons"] = sorted(map(PauseReason, found["reasons"]))
    return BatchView(counts={str(name): count for name, count in counts.items()}, parts=parts, **found)
