"""What the expander reads: flows of batches in which lines wait, those lines, and where their text is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import BatchState, OnUnknown, PauseReason

_FLOWS = text("""
    SELECT flows.id, flows.model_id, flows.requirement, flows.weight, flows.batch_id, batches.account_id,
        batches.state, batches.reasons
    FROM batches
    JOIN flows ON flows.batch_id = batches.id
    LEFT JOIN unnest(CAST(:ids AS int[]), CAST(:cursors AS int[])) AS known (id, cursor)
        ON known.id = flows.id
    WHERE batches.state IN ('in_progress', 'paused') AND flows.open AND EXISTS (
        SELECT FROM batch_lines
        WHERE flow_id = flows.id AND batch_lines.state = 'waiting'
            AND number > coalesce(cursor, 0) AND number <= last_number
    )
    ORDER BY flows.id
""")

# The jobs of lines with images to be fetched wait in another flow, before and after the fetch.
_WAITING_JOBS = text("""
    SELECT flow.id, count(*)::int AS jobs
    FROM unnest(CAST(:ids AS int[]), CAST(:batch_ids AS uuid[]), CAST(:model_ids AS text[]),
        CAST(:fetched AS text[])) AS flow (id, batch_id, model_id, fetched)
    JOIN flows ON flows.batch_id = flow.batch_id AND flows.model_id = flow.model_id
        AND (flows.id = flow.id OR flows.requirement = flow.fetched)
    CROSS JOIN LATERAL (
        SELECT FROM jobs WHERE flow_id = flows.id AND status = 'QUEUED'
        UNION ALL
        SELECT FROM jobs WHERE flow_id = flows.id AND status = 'PROCESSING' AND wanted > 0
        LIMIT :most
    ) AS job
    GROUP BY flow.id
""")

_TERMS = text("""
    SELECT batches.account_id, api_key_id, endpoint, on_unknown, client_headers, start_by,
        CASE WHEN line_webhooks THEN webhook_url END AS line_webhook_url,
        ARRAY(
            SELECT storage_key FROM batch_parts JOIN files ON files.id = file_id
            WHERE batch_parts.batch_id = batches.id ORDER BY part
        ) AS storage_keys
    FROM batches WHERE id = :id
""")

_LINES = text("""
    SELECT number, part, byte_offset, byte_count FROM batch_lines
    WHERE flow_id = :flow_id AND state = 'waiting' AND number > :cursor AND number <= :last
    ORDER BY number LIMIT :most
""")

_LOCK = text("""
    SELECT number FROM batch_lines
    WHERE batch_id = :batch_id AND number = ANY(CAST(:numbers AS int[])) AND state = 'waiting'
    ORDER BY number
    FOR UPDATE SKIP LOCKED
""")

_TAKE_TURN = text("SELECT pg_try_advisory_xact_lock(:key, :flow_id)")
_ADVISORY_KEY = 1_300_013
"""The first half of the advisory locks of flows that are being expanded: a number that nothing else uses."""


@dataclass(frozen=True, slots=True)
class ExpandableFlow:
    """A flow of a batch in which lines wait that may run; `state` and `reasons` are the batch's."""

    id: int
    model_id: str
    requirement: str
    weight: int
    batch_id: UUID
    account_id: UUID
    state: BatchState
    reasons: frozenset[PauseReason]


@dataclass(frozen=True, slots=True)
class BatchTerms:
    """What the jobs of a batch have in common. `storage_keys` are those of its files, by part from 1."""

    account_id: UUID
    api_key_id: UUID
    endpoint: str | None
    on_unknown: OnUnknown
    client_headers: Mapping[str, str]
    start_by: datetime | None
    line_webhook_url: str | None
    storage_keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """A line, and where its text is in the file of its part."""

    number: int
    part: int
    byte_offset: int
    byte_count: int


def flows_with_lines(connection: Connection, cursors: Mapping[int, int]) -> list[ExpandableFlow]:
    """The open flows of batches in which lines wait behind the cursor of each."""
    values = {"ids": list(cursors), "cursors": list(cursors.values())}
    return [
        ExpandableFlow(
            row.id,
            row.model_id,
            row.requirement,
            row.weight,
            row.batch_id,
            row.account_id,
            BatchState(row.state),
            frozenset(map(PauseReason, row.reasons)),
        )
        for row in connection.execute(_FLOWS, values)
    ]


def waiting_jobs(
    connection: Connection, flows: Sequence[ExpandableFlow], fetched: Sequence[str], most: int
) -> dict[int, int]:
    """How many jobs of each flow wait for a call, counted up to about `most`.

    `fetched` has the requirement of each flow as it is when its input images are fetched.
    """
    values: dict[str, Any] = {
        "ids": [flow.id for flow in flows],
        "batch_ids": [flow.batch_id for flow in flows],
        "model_ids": [flow.model_id for flow in flows],
        "fetched": list(fetched),
        "most": most,
    }
    return {row.id: row.jobs for row in connection.execute(_WAITING_JOBS, values)} if flows else {}


def read_terms(connection: Connection, batch_id: UUID) -> BatchTerms:
    """What the jobs of a batch have in common; of that only the files become more while it runs."""
    row = connection.execute(_TERMS, {"id": batch_id}).one()
    return BatchTerms(row[0], row[1], row[2], OnUnknown(row[3]), *row[4:])


def waiting_lines(
    connection: Connection, flow_id: int, cursor: int, last: int, most: int
) -> list[WaitingLine]:
    """The next lines of a flow that wait, behind a number and up to another one."""
    values = {"flow_id": flow_id, "cursor": cursor, "last": last, "most": most}
    return [WaitingLine(*row) for row in connection.execute(_LINES, values)]


def take_turn(connection: Connection, flow_id: int) -> bool:
    """Whether this transaction alone expands the flow: of two, one could hold for later lines first."""
    values = {"key": _ADVISORY_KEY, "flow_id": flow_id}
    return connection.execute(_TAKE_TURN, values).scalar_one()


def lock_waiting(connection: Connection, batch_id: UUID, numbers: Sequence[int]) -> set[int]:
    """Lock those of the lines that still wait; their numbers."""
    values = {"batch_id": batch_id, "numbers": list(numbers)}
    return set(connection.execute(_LOCK, values).scalars())
