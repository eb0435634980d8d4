"""What the dry run of a batch has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import BatchState


@dataclass(frozen=True, slots=True)
class DryRun:
    """A dry run: its state, what was counted so far, and at its end the lines by model and requirement."""

    state: BatchState
    line_count: int
    skipped_count: int
    image_count: int
    price_usd: Decimal
    errors: Sequence[Mapping[str, Any]]
    demand: Sequence[tuple[str, str, int]]


_READ = text("""
    SELECT batches.state, line_count, skipped_count, image_count, coalesce(price_usd, 0) AS price_usd, errors,
        demand
    FROM batches JOIN batch_parts ON batch_id = batches.id AND part = 1
    WHERE batches.id = :id AND account_id = :account_id AND dry_run
""")


def read_dry_run(connection: Connection, account_id: UUID, batch_id: UUID) -> DryRun | None:
    """A dry run of an account; None: it has no such one."""
    row = connection.execute(_READ, {"id": batch_id, "account_id": account_id}).one_or_none()
    if row is None:
        return None
    demand = [(model, requirement, lines) for model, requirement, lines in row.demand]
    return DryRun(
        BatchState(row.state),
        row.line_count,
        row.skipped_count,
        row.image_count,
        row.price_usd,
        row.errors,
        demand,
    )
