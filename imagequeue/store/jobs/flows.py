"""Which flows have jobs waiting: a loose index scan, whose cost does not grow with the backlog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import RESUMED_BY_HAND
from imagequeue.domain.fairness import Flow
from imagequeue.domain.jobs import Lane

# From flow to flow through a partial index. Flows with a cursor are stepped over as a whole and asked for
# jobs behind their cursors, so that dead rows at their front cost nothing (lifecycle/dispatch/backlog.py).
_WAITING = text("""
    WITH RECURSIVE skipped (id, cursor) AS (
        SELECT * FROM unnest((SELECT CAST(:ids AS int[])), (SELECT CAST(:cursors AS uuid[])))
    ), queued (flow_id, waits) AS (
        SELECT 0, false
        UNION ALL
        SELECT next.flow_id, next.waits
        FROM queued CROSS JOIN LATERAL (
            (
                SELECT flow_id, true AS waits FROM jobs
                WHERE status = 'QUEUED' AND flow_id > queued.flow_id AND flow_id < coalesce(
                    (SELECT min(id) FROM skipped WHERE id > queued.flow_id), 2147483647
                )
                ORDER BY flow_id LIMIT 1
            )
            UNION ALL
            (
                SELECT id, EXISTS (
                    SELECT FROM jobs
                    WHERE status = 'QUEUED' AND flow_id = skipped.id AND jobs.id > skipped.cursor
                )
                FROM skipped WHERE id > queued.flow_id
                ORDER BY id LIMIT 1
            )
            ORDER BY flow_id LIMIT 1
        ) AS next
    ), incomplete (flow_id) AS (
        (SELECT flow_id FROM jobs WHERE status = 'PROCESSING' AND wanted > 0 ORDER BY flow_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT flow_id FROM jobs
            WHERE status = 'PROCESSING' AND wanted > 0 AND flow_id > incomplete.flow_id
            ORDER BY flow_id LIMIT 1
        )
        FROM incomplete WHERE incomplete.flow_id IS NOT NULL
    )
    SELECT flow_id, true AS is_queued FROM queued WHERE waits
    UNION ALL
    SELECT flow_id, false FROM incomplete WHERE flow_id IS NOT NULL
""")

FLOWS_OPEN = f"""(
    state IN ('validating', 'in_progress', 'paused')
    AND NOT reasons && ARRAY[{", ".join(f"'{reason}'" for reason in sorted(RESUMED_BY_HAND))}]
)"""
"""Of a row of `batches`: whether calls of its jobs may begin. Its flows say the same."""

_FOLLOW = text(f"""
    WITH flow AS (
        SELECT flows.id, batches.weight, {FLOWS_OPEN} AS open
        FROM flows JOIN batches ON batches.id = batch_id
        WHERE batch_id = :batch_id ORDER BY flows.id FOR NO KEY UPDATE OF flows
    )
    UPDATE flows SET open = flow.open, weight = flow.weight FROM flow
    WHERE flows.id = flow.id AND (flows.open, flows.weight) IS DISTINCT FROM (flow.open, flow.weight)
""")  # noqa: S608  # a constant of this module


def waiting_flows(connection: Connection, cursors: Mapping[int, UUID]) -> tuple[set[int], set[int]]:
    """Ids of the flows in which a job waits: for its first attempt, and for another to bring missing images.

    Of the first kind are flows with a job whose id is above the flow's cursor.
    """
    values = {"ids": list(cursors), "cursors": list(cursors.values())}
    rows = connection.execute(_WAITING, values).all()
    return {row.flow_id for row in rows if row.is_queued}, {row.flow_id for row in rows if not row.is_queued}


def load_flows(connection: Connection, ids: Sequence[int]) -> list[Flow]:
    """Read what never changes of flows, with the weight of their account."""
    rows = connection.execute(
        text("""
            SELECT flows.id, model_id, requirement, account_id, lane, accounts.weight, batch_id
            FROM flows JOIN accounts ON accounts.id = account_id
            WHERE flows.id = ANY(:ids)
        """),
        {"ids": list(ids)},
    )
    return [
        Flow(row.id, row.model_id, row.requirement, row.account_id, Lane(row.lane), row.weight, row.batch_id)
        for row in rows
    ]


def open_weights(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Of some flows of batches those that are open, with the weight of their batch."""
    statement = text("SELECT id, weight FROM flows WHERE id = ANY(:ids) AND open")
    return {row.id: row.weight for row in connection.execute(statement, {"ids": list(ids)})}


def follow_batch(connection: Connection, batch_id: UUID) -> None:
    """Open or close the flows of a batch as its state and its reasons say, and give them its weight.

    From the commit of a closing on no call of its jobs begins: it waits for those that are beginning now. The
    caller holds the lock of the batch's row, so that no flow is made meanwhile.
    """
    connection.execute(_FOLLOW, {"batch_id": batch_id})


def first_waiting(
    connection: Connection, flow_ids: Sequence[int], most: int
) -> dict[int, tuple[list[UUID], list[int]]]:
    """The first `most` waiting jobs of each flow, by id: their ids, and how many images each one misses.

    Started jobs that need another attempt are among them. They were claimed earlier, so they come first.
    """
    statement = text("""
        SELECT flow.id, head.ids, head.wanted
        FROM unnest(CAST(:flow_ids AS int[])) AS flow (id)
        CROSS JOIN LATERAL (
            SELECT array_agg(id ORDER BY id) AS ids, array_agg(wanted ORDER BY id) AS wanted
            FROM (
                (
                    SELECT id, wanted FROM jobs
                    WHERE flow_id = flow.id AND status = 'PROCESSING' AND wanted > 0 ORDER BY id LIMIT :most
                )
                UNION ALL
                (
                    SELECT id, wanted FROM jobs
                    WHERE flow_id = flow.id AND status = 'QUEUED' ORDER BY id LIMIT :most
                )
                ORDER BY id LIMIT :most
            ) AS first
        ) AS head
        WHERE head.ids IS NOT NULL
    """)
    rows = connection.execute(statement, {"flow_ids": list(flow_ids), "most": most})
    return {row.id: (row.ids, row.wanted) for row in rows}


def last_queued(connection: Connection, flow_ids: Sequence[int]) -> dict[int, UUID]:
    """The youngest queued job of each flow."""
    statement = text("""
        SELECT flow.id, last.id AS job_id
        FROM unnest(CAST(:flow_ids AS int[])) AS flow (id)
        CROSS JOIN LATERAL (
            SELECT id FROM jobs WHERE flow_id = flow.id AND status = 'QUEUED' ORDER BY jobs.id DESC LIMIT 1
        ) AS last
    """)
    rows = connection.execute(statement, {"flow_ids": list(flow_ids)})
    return {row.id: row.job_id for row in rows}


def count_by_missing_images(connection: Connection, flow_id: int) -> dict[int, int]:
    """By number of missing images, how many jobs of a flow wait. Its cost grows with the flow."""
    statement = text("""
        SELECT wanted, count(*) FROM (
            SELECT wanted FROM jobs WHERE flow_id = :id AND status = 'QUEUED'
            UNION ALL
            SELECT wanted FROM jobs WHERE flow_id = :id AND status = 'PROCESSING' AND wanted > 0
        ) AS waiting
        GROUP BY wanted
    """)
    return {row[0]: row[1] for row in connection.execute(statement, {"id": flow_id})}
