"""Inserts accepted jobs: the narrow row that changes, the wide one that never does, the first event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import OnUnknown
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import Lane
from imagequeue.store.arrays import array
from imagequeue.store.jobs.flows import FLOWS_OPEN


@dataclass(frozen=True, slots=True, order=True)
class FlowKey:
    """What the jobs of one flow have in common (docs/design/pipeline.md, "Dispatch")."""

    account_id: UUID
    model_id: str
    requirement: str
    lane: Lane
    batch_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert. `price_usd` is for all of its images; `start_by` and `finish_by` are aware times."""

    id: UUID
    account_id: UUID
    flow_id: int
    request: ImageRequest
    price_usd: Decimal
    dialect: str
    start_by: datetime | None = None
    finish_by: datetime | None = None
    webhook_url: str | None = None
    client_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    on_unknown: OnUnknown = OnUnknown.RETRY
    notes: str | None = None


_FIND_FLOWS = text("""
    SELECT flows.id, account_id, model_id, requirement, lane, flows.batch_id
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:model_ids AS text[]), CAST(:requirements AS text[]),
        CAST(:lanes AS text[]), CAST(:batch_ids AS uuid[]))
        AS wanted (account_id, model_id, requirement, lane, batch_id)
    JOIN flows USING (account_id, model_id, requirement, lane)
    WHERE flows.batch_id IS NOT DISTINCT FROM wanted.batch_id
""")

# The share lock: a batch that closes its flows meanwhile waits, and closes this one as well.
_MAKE_FLOWS = text(f"""
    WITH new AS (
        SELECT * FROM unnest(CAST(:account_ids AS uuid[]), CAST(:model_ids AS text[]),
            CAST(:requirements AS text[]), CAST(:lanes AS text[]), CAST(:batch_ids AS uuid[]))
            AS new (account_id, model_id, requirement, lane, batch_id)
    ), batch AS (
        SELECT id, weight, {FLOWS_OPEN} AS open FROM batches
        WHERE id IN (SELECT batch_id FROM new) ORDER BY id FOR SHARE
    )
    INSERT INTO flows (account_id, model_id, requirement, lane, batch_id, weight, open)
    SELECT new.*, coalesce(weight, 1), coalesce(open, true) FROM new LEFT JOIN batch ON id = batch_id
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT DO NOTHING
""")  # noqa: S608  # a constant of flows.py

_INSERT_JOBS = text("""
    WITH new AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:account_ids AS uuid[]), CAST(:flow_ids AS int[]),
            CAST(:image_counts AS int[]), CAST(:prices AS numeric[]),
            CAST(:start_bys AS timestamptz[]), CAST(:finish_bys AS timestamptz[]),
            CAST(:prompts AS text[]), CAST(:parameters AS text[]), CAST(:dialects AS text[]),
            CAST(:webhook_urls AS text[]), CAST(:client_headers AS text[]), CAST(:on_unknown AS text[]),
            CAST(:notes AS text[]), CAST(:unfetched AS boolean[])
        ) AS new (id, account_id, flow_id, image_count, price_usd, start_by, finish_by,
            prompt, parameters, dialect, webhook_url, client_headers, on_unknown, notes, unfetched)
    ), job AS (
        INSERT INTO jobs
            (id, account_id, flow_id, status, image_count, wanted, price_usd, start_by, finish_by, not_before)
        SELECT id, account_id, flow_id, 'QUEUED', image_count, image_count, price_usd, start_by, finish_by,
            -- When a worker is to fetch the input images that are URLs: now. NULL: there is none to fetch.
            -- Until they are fetched no deployment serves the job's flow, so dispatch does not claim it.
            CASE WHEN unfetched THEN clock_timestamp() END
        FROM new
    ), request AS (
        INSERT INTO job_requests
            (job_id, prompt, parameters, dialect, webhook_url, client_headers, on_unknown, notes)
        SELECT id, prompt, CAST(parameters AS jsonb), dialect, webhook_url, CAST(client_headers AS jsonb),
            on_unknown, notes
        FROM new
    )
    INSERT INTO events (job_id, status) SELECT id, 'QUEUED' FROM new
""")


def flow_ids(connection: Connection, keys: Sequence[FlowKey]) -> dict[FlowKey, int]:
    """Find the flows, and insert those that are missing. A flow's id never changes; none is deleted.

    A new flow of a batch gets the batch's weight, and is open unless the batch is stopped.
    """
    found = _find_flows(connection, keys)
    missing = [key for key in keys if key not in found]
    if missing:
        connection.execute(_MAKE_FLOWS, _columns(missing))
        found |= _find_flows(connection, missing)
    return found


def insert_jobs(connection: Connection, new: Sequence[NewJob]) -> None:
    """Insert jobs that wait, with their requests and first events, in one statement."""
    connection.execute(
        _INSERT_JOBS,
        {
            "ids": array(job.id for job in new),
            "account_ids": array(job.account_id for job in new),
            "flow_ids": array(job.flow_id for job in new),
            "image_counts": array(job.request.image_count for job in new),
            "prices": array(job.price_usd for job in new),
            "start_bys": array(job.start_by for job in new),
            "finish_bys": array(job.finish_by for job in new),
            "prompts": array(job.request.prompt for job in new),
            "parameters": array(json.dumps(job.request.parameters()) for job in new),
            "dialects": array(job.dialect for job in new),
            "webhook_urls": array(job.webhook_url for job in new),
            "client_headers": array(json.dumps(dict(job.client_headers)) for job in new),
            "on_unknown": array(job.on_unknown.value for job in new),
            "notes": array(job.notes for job in new),
            "unfetched": array(job.request.unfetched for job in new),
        },
    )


def any_exists(connection: Connection, job_ids: Sequence[UUID]) -> bool:
    """Whether one of these jobs is in the database."""
    statement = text("SELECT EXISTS (SELECT FROM jobs WHERE id = ANY(:ids))")
    return connection.execute(statement, {"ids": list(job_ids)}).scalar_one()


def _find_flows(connection: Connection, keys: Sequence[FlowKey]) -> dict[FlowKey, int]:
    rows = connection.execute(_FIND_FLOWS, _columns(keys))
    return {
        FlowKey(row.account_id, row.model_id, row.requirement, Lane(row.lane), row.batch_id): row.id
        for row in rows
    }


def _columns(keys: Sequence[FlowKey]) -> dict[str, list[Any]]:
    return {
        "account_ids": [key.account_id for key in keys],
        "model_ids": [key.model_id for key in keys],
        "requirements": [key.requirement for key in keys],
        "lanes": [key.lane.value for key in keys],
        "batch_ids": [key.batch_id for key in keys],
    }
