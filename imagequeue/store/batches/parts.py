"""The parts of batches: which one is validated next, and how far each has come.

A validation holds a lease on its part, and the lease is its fence: every statement asks that it is still the
one that was given, so a validation that was taken for dead writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import BatchState, Dedupe, PartState


@dataclass(frozen=True, slots=True)
class PartProgress:
    """How far a validation has come. Numbers of bytes and lines are of the part's file; price in USD."""

    byte_reached: int = 0
    line_reached: int = 0
    line_count: int = 0
    skipped_count: int = 0
    image_count: int = 0
    price_usd: Decimal = Decimal(0)
    errors: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class LeasedPart:
    """A part that one validation works on until `lease`, and what it must know of its batch."""

    batch_id: UUID
    part: int
    state: PartState
    account_id: UUID
    endpoint: str | None
    client_headers: Mapping[str, str]
    dry_run: bool
    dedupe: Dedupe
    storage_key: str
    size_bytes: int
    first_number: int
    lease: datetime
    progress: PartProgress


_REACHED = tuple(PartProgress.__dataclass_fields__)

# A part waits for the earlier ones of its batch: its first number follows theirs. It also waits for what is
# left of a failed one to be deleted, because a custom_id may be in both.
_WAITS = """
    (batch_parts.state = 'validating' OR batch_parts.leased_until IS NOT NULL)
    AND coalesce(batch_parts.leased_until, '-infinity') <= clock_timestamp()
    AND NOT EXISTS (
        SELECT FROM batch_parts AS earlier
        WHERE earlier.batch_id = batch_parts.batch_id AND earlier.part < batch_parts.part
            AND (earlier.state = 'validating' OR earlier.leased_until IS NOT NULL)
    )
"""

# Of a random account: one with many files delays each of the others by one turn.
_LEASE = text(f"""
    WITH account AS (
        SELECT account_id FROM batch_parts JOIN batches ON batches.id = batch_id
        WHERE {_WAITS} GROUP BY account_id ORDER BY random() LIMIT 1
    ), next AS (
        SELECT batch_id, part FROM batch_parts
        WHERE {_WAITS} AND (
            SELECT account_id FROM batches WHERE batches.id = batch_id
        ) = (SELECT account_id FROM account)
        ORDER BY coalesce(leased_until, created_at) LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE batch_parts
    SET leased_until = clock_timestamp() + make_interval(secs => :seconds),
        first_number = 1 + coalesce((
            SELECT max(earlier.first_number - 1 + earlier.line_reached) FROM batch_parts AS earlier
            WHERE earlier.batch_id = batch_parts.batch_id AND earlier.part < batch_parts.part
        ), 0)
    FROM next, batches, files
    WHERE batch_parts.batch_id = next.batch_id AND batch_parts.part = next.part
        AND batches.id = next.batch_id AND files.id = batch_parts.file_id
    RETURNING batch_parts.batch_id, batch_parts.part, batch_parts.state, batches.account_id, endpoint,
        client_headers, dry_run, dedupe, storage_key, size_bytes, first_number,
        batch_parts.leased_until AS lease, byte_reached, line_reached, line_count, skipped_count, image_count,
        coalesce(price_usd, 0) AS price_usd, errors
""")  # noqa: S608  # a constant, as below

_SAVE = text("""
    UPDATE batch_parts
    SET leased_until = clock_timestamp() + make_interval(secs => :seconds), byte_reached = :byte_reached,
        line_reached = :line_reached, line_count = :line_count, skipped_count = :skipped_count,
        image_count = :image_count, price_usd = :price_usd, errors = CAST(:errors AS jsonb)
    WHERE batch_id = :batch_id AND part = :part AND state = 'validating' AND leased_until = :lease
        AND EXISTS (
            SELECT FROM batches WHERE id = :batch_id AND state IN ('validating', 'in_progress', 'paused')
        )
    RETURNING leased_until
""")

_PUT_BACK = text("""
    UPDATE batch_parts SET leased_until = clock_timestamp()
    WHERE batch_id = :batch_id AND part = :part AND leased_until = :lease
""")

_ANOTHER = text(f"SELECT EXISTS (SELECT FROM batch_parts WHERE {_WAITS})")  # noqa: S608

_END = text("""
    UPDATE batch_parts
    SET state = :state, finished_at = clock_timestamp(), errors = CAST(:errors AS jsonb),
        leased_until = CASE WHEN :state = 'failed' THEN leased_until END
    WHERE batch_id = :batch_id AND part = :part AND state = 'validating' AND leased_until = :lease
    RETURNING batch_id
""")

_RELEASE = text("""
    UPDATE batch_parts SET leased_until = NULL
    WHERE batch_id = :batch_id AND part = :part AND leased_until = :lease
""")

_LOCK_BATCH = text("SELECT state FROM batches WHERE id = :batch_id FOR NO KEY UPDATE")

_BEGIN_BATCH = text("""
    UPDATE batches
    SET state = 'in_progress', in_progress_at = clock_timestamp(), last_number = :last_number
    WHERE id = :batch_id AND state = 'validating'
""")

_EXTEND_BATCH = text("UPDATE batches SET last_number = :last_number WHERE id = :batch_id")

_LAST_NUMBER = text(
    "SELECT first_number - 1 + line_reached FROM batch_parts WHERE batch_id = :batch_id AND part = :part"
)

_DEMAND = text(
    "UPDATE batch_parts SET demand = CAST(:demand AS jsonb) WHERE batch_id = :batch_id AND part = :part"
)

_END_DRY_RUN = text("""
    UPDATE batches
    SET state = 'completed', completed_at = clock_timestamp(), ended_at = clock_timestamp()
    WHERE id = :batch_id AND state = 'validating'
""")

_FAIL_BATCH = text("""
    UPDATE batches SET state = 'failed', failed_at = clock_timestamp(), ended_at = clock_timestamp()
    WHERE id = :batch_id AND state = 'validating' RETURNING failed_at AS now, webhook_url
""")

# Skipped lines of a later part have the negative of their number until here, because others finish meanwhile.
_NUMBER_SKIPPED = text("""
    WITH counter AS MATERIALIZED (
        SELECT finished FROM batch_counters WHERE batch_id = :batch_id FOR UPDATE
    ), skipped AS (
        SELECT number, row_number() OVER (ORDER BY number) AS place FROM batch_lines
        WHERE batch_id = :batch_id AND part = :part AND finished < 0
    )
    UPDATE batch_lines SET finished = counter.finished + skipped.place
    FROM counter, skipped WHERE batch_lines.batch_id = :batch_id AND batch_lines.number = skipped.number
""")

_COUNT = text("""
    UPDATE batch_counters
    SET total = total + :lines, waiting = waiting + :lines - :skipped, skipped = skipped + :skipped,
        finished = finished + :skipped
    WHERE batch_id = :batch_id
""")


def lease_part(connection: Connection, seconds: float) -> LeasedPart | None:
    """Lease the part of some account that has waited longest for its next turn; None: none waits."""
    row = connection.execute(_LEASE, {"seconds": seconds}).mappings().one_or_none()
    if row is None:
        return None
    return LeasedPart(
        batch_id=row["batch_id"],
        part=row["part"],
        state=PartState(row["state"]),
        account_id=row["account_id"],
        endpoint=row["endpoint"],
        client_headers=row["client_headers"],
        dry_run=row["dry_run"],
        dedupe=Dedupe(row["dedupe"]),
        storage_key=row["storage_key"],
        size_bytes=row["size_bytes"],
        first_number=row["first_number"],
        lease=row["lease"],
        # A dry run writes no lines, so there is nothing that it could go on from.
        progress=PartProgress() if row["dry_run"] else PartProgress(**{name: row[name] for name in _REACHED}),
    )


def save_progress(
    connection: Connection, part: LeasedPart, progress: PartProgress, lease: datetime, seconds: float
) -> datetime | None:
    """Write how far a validation has come, and renew its lease: the new one.

    None: it has lost the part, or the batch is not to have it any more.
    """
    values = {
        "batch_id": part.batch_id,
        "part": part.part,
        "lease": lease,
        "seconds": seconds,
        "byte_reached": progress.byte_reached,
        "line_reached": progress.line_reached,
        "line_count": progress.line_count,
        "skipped_count": progress.skipped_count,
        "image_count": progress.image_count,
        "price_usd": progress.price_usd,
        "errors": json.dumps(list(progress.errors)),
    }
    return connection.execute(_SAVE, values).scalar_one_or_none()


def put_back(connection: Connection, part: LeasedPart, lease: datetime) -> None:
    """Let another part have a turn first."""
    connection.execute(_PUT_BACK, _named(part, lease))


def another_waits(connection: Connection) -> bool:
    """Whether a part waits that nobody works on."""
    return connection.execute(_ANOTHER).scalar_one()


def batch_state(connection: Connection, batch_id: UUID) -> BatchState:
    """The state of a batch, which stays so until the transaction ends."""
    return BatchState(connection.execute(_LOCK_BATCH, {"batch_id": batch_id}).scalar_one())


def end_part(
    connection: Connection,
    part: LeasedPart,
    lease: datetime,
    state: PartState,
    errors: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """End a validation; False: it has lost the part. A failed part keeps its lease until `release_part`."""
    values = {**_named(part, lease), "state": state.value, "errors": json.dumps(list(errors))}
    return connection.execute(_END, values).scalar_one_or_none() is not None


def release_part(connection: Connection, part: LeasedPart, lease: datetime) -> None:
    """Nothing is left of a failed part."""
    connection.execute(_RELEASE, _named(part, lease))


def publish_lines(
    connection: Connection, part: LeasedPart, progress: PartProgress, state: BatchState
) -> None:
    """Let the lines of a valid part run, and count them; `state` is that of its locked batch."""
    values = {
        "batch_id": part.batch_id,
        "part": part.part,
        "last_number": part.first_number - 1 + progress.line_reached,
        "lines": progress.line_count,
        "skipped": progress.skipped_count,
    }
    connection.execute(_BEGIN_BATCH if state is BatchState.VALIDATING else _EXTEND_BATCH, values)
    if part.part > 1 and progress.skipped_count:
        connection.execute(_NUMBER_SKIPPED, values)
    connection.execute(_COUNT, values)


def last_number(connection: Connection, part: LeasedPart) -> int:
    """The number of the last line of a part that was written."""
    return connection.execute(_LAST_NUMBER, {"batch_id": part.batch_id, "part": part.part}).scalar_one()


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch that failed `now`, on the database's clock, and its own webhook's URL."""

    now: datetime
    webhook_url: str | None


def end_dry_run(connection: Connection, part: LeasedPart, demand: Mapping[tuple[str, str], int]) -> None:
    """The file of a dry run has no errors; `demand` is the number of lines by model and requirement."""
    listed = [[model, requirement, lines] for (model, requirement), lines in sorted(demand.items())]
    values = {"batch_id": part.batch_id, "part": part.part, "demand": json.dumps(listed)}
    connection.execute(_DEMAND, values)
    connection.execute(_END_DRY_RUN, values)


def fail_batch(connection: Connection, batch_id: UUID) -> FailedBatch | None:
    """The file of a batch that is validated has errors; None: it is not being validated any more."""
    row = connection.execute(_FAIL_BATCH, {"batch_id": batch_id}).one_or_none()
    return FailedBatch(row.now, row.webhook_url) if row else None


def _named(part: LeasedPart, lease: datetime) -> dict[str, Any]:
    return {"batch_id": part.batch_id, "part": part.part, "lease": lease}
