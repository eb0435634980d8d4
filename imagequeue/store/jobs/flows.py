"""Which flows have jobs waiting: a loose index scan, whose cost does not grow with the backlog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.fairness import Flow
from imagequeue.domain.jobs import Lane

# From flow to flow through a partial index. Flows with a cursor are stepped over as a whole and asked for
# jobs behind their cursors, so that dead rows at their front cost nothing (lifecycle/dispatch/backlog.py).
_QUEUED = text("""
    WITH RECURSIVE skipped (id, cursor) AS (
        SELECT * FROM unnest(CAST(:ids AS int[]), CAST(:cursors AS uuid[]))
    ), found (flow_id, waits) AS (
        SELECT 0, false
        UNION ALL
        SELECT next.flow_id, next.waits
        FROM found CROSS JOIN LATERAL (
            (
                SELECT flow_id, true AS waits FROM jobs
                WHERE status = 'QUEUED' AND flow_id > found.flow_id AND flow_id < coalesce(
                    (SELECT min(id) FROM skipped WHERE id > found.flow_id), 2147483647
                )
                ORDER BY flow_id LIMIT 1
            )
            UNION ALL
            (
                SELECT id, EXISTS (
                    SELECT FROM jobs
                    WHERE status = 'QUEUED' AND flow_id = skipped.id AND jobs.id > skipped.cursor
                )
                FROM skipped WHERE id > found.flow_id
                ORDER BY id LIMIT 1
            )
            ORDER BY flow_id LIMIT 1
        ) AS next
    )
    SELECT flow_id FROM found WHERE waits
""")

_INCOMPLETE = text("""
    WITH RECURSIVE found AS (
        (SELECT flow_id FROM jobs WHERE status = 'PROCESSING' AND wanted > 0 ORDER BY flow_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT flow_id FROM jobs
            WHERE status = 'PROCESSING' AND wanted > 0 AND flow_id > found.flow_id
            ORDER BY flow_id LIMIT 1
        )
        FROM found WHERE found.flow_id IS NOT NULL
    )
    SELECT flow_id FROM found WHERE flow_id IS NOT NULL
""")


def queued_flows(connection: Connection, cursors: Mapping[int, UUID]) -> set[int]:
    """Ids of the flows in which a job waits for its first attempt: one with an id above the flow's cursor."""
    values = {"ids": list(cursors), "cursors": list(cursors.values())}
    return set(connection.execute(_QUEUED, values).scalars())


def incomplete_flows(connection: Connection) -> set[int]:
    """Ids of the flows in which a started job misses images and needs another attempt."""
    return set(connection.execute(_INCOMPLETE).scalars())


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


def open_flows(connection: Connection, batch_id: UUID) -> None:
    """Let calls of a batch's jobs begin."""
    _set(connection, "open = true", batch_id)


def close_flows(connection: Connection, batch_id: UUID) -> None:
    """Let no call of a batch's jobs begin, from the commit on. It waits for those that are beginning now."""
    _set(connection, "open = false", batch_id)


def set_weight(connection: Connection, batch_id: UUID, weight: int) -> None:
    """Give a batch's flows its weight, from 1 to 1000."""
    _set(connection, "weight = :weight", batch_id, weight=weight)


def _set(connection: Connection, change: str, batch_id: UUID, **values: int) -> None:
    """Change all flows of a batch, in the order of their ids, in which everybody locks them."""
    statement = text(f"""
        WITH flow AS (SELECT id FROM flows WHERE batch_id = :batch_id ORDER BY id FOR NO KEY UPDATE)
        UPDATE flows SET {change} FROM flow WHERE flows.id = flow.id
    """)  # noqa: S608  # constants of this module
    connection.execute(statement, {"batch_id": batch_id, **values})


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
