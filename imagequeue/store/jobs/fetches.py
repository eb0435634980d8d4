"""Jobs whose input images are still to be fetched: QUEUED, in a flow that no deployment serves yet.

`jobs.not_before` is the schedule: when the next fetch is due, or when the lease of the running one ends. It
is also the fence: a fetch that outlasts its lease finds that another claim has changed the value.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.jobs import Lane

_UNFETCHED = "SELECT flow_id FROM jobs WHERE status = 'QUEUED' AND not_before IS NOT NULL"

_CLAIM = text(f"""
    WITH RECURSIVE line AS (
        ({_UNFETCHED} ORDER BY flow_id LIMIT 1)
        UNION ALL
        SELECT ({_UNFETCHED} AND flow_id > line.flow_id ORDER BY flow_id LIMIT 1)
        FROM line WHERE line.flow_id IS NOT NULL
    ), due AS (
        SELECT job.id, flow.account_id, flow.model_id, flow.requirement, flow.lane, flow.batch_id
        FROM (
            SELECT flows.* FROM line JOIN flows ON flows.id = line.flow_id
            WHERE lane = ANY(:lanes) AND account_id <> ALL(CAST(:passed_over AS uuid[]))
            ORDER BY random()
        ) AS flow
        CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE flow_id = flow.id AND status = 'QUEUED' AND not_before <= statement_timestamp()
            ORDER BY not_before LIMIT 1
            FOR UPDATE SKIP LOCKED
        ) AS job
        LIMIT 1
    )
    UPDATE jobs
    SET not_before = clock_timestamp() + make_interval(secs => :lease_seconds), deaths = deaths + 1
    FROM due JOIN job_requests ON job_requests.job_id = due.id
    WHERE jobs.id = due.id
    RETURNING jobs.id, jobs.flow_id, jobs.account_id, due.model_id, due.requirement, due.lane, due.batch_id,
        prompt, parameters, failures, deaths, not_before AS leased_until
""")  # noqa: S608  # a constant of this module

_FETCHED = text("""
    UPDATE jobs SET flow_id = :to_flow, not_before = NULL, failures = 0, deaths = 0
    WHERE id = :id AND status = 'QUEUED' AND flow_id = :from_flow
""")

_PUT_OFF = text("""
    UPDATE jobs
    SET not_before = clock_timestamp() + make_interval(secs => :seconds),
        failures = failures + :failures, deaths = 0
    WHERE id = :id AND status = 'QUEUED' AND not_before = :leased_until
""")

_HOLD = text("""
    SELECT id FROM jobs WHERE id = :id AND status = 'QUEUED' AND not_before = :leased_until FOR UPDATE
""")


@dataclass(frozen=True, slots=True)
class UnfetchedJob:
    """A job whose inputs are to be fetched, leased until `leased_until`.

    `failures` counts the fetches that failed before; `deaths` the last ones in a row, this one included, that
    have reported no result.
    """

    id: UUID
    flow_id: int
    account_id: UUID
    model_id: str
    requirement: str
    lane: Lane
    batch_id: UUID | None
    prompt: str
    parameters: dict[str, Any]
    failures: int
    deaths: int
    leased_until: datetime


def claim_unfetched(
    connection: Connection, lanes: Collection[Lane], passed_over: Collection[UUID], lease_seconds: float
) -> UnfetchedJob | None:
    """Lease the job that has been due longest in a random flow: no account waits for another one's jobs.

    Args:
        connection: the transaction.
        lanes: those of which jobs may be leased.
        passed_over: accounts that have as many fetches running as they may.
        lease_seconds: time until the job is due again, unless a result comes first.
    """
    values = {
        "lanes": [lane.value for lane in lanes],
        "passed_over": list(passed_over),
        "lease_seconds": lease_seconds,
    }
    row = connection.execute(_CLAIM, values).mappings().one_or_none()
    if row is None:
        return None
    found: dict[str, Any] = {**row, "lane": Lane(row["lane"])}
    return UnfetchedJob(**found)


def set_fetched(connection: Connection, job: UnfetchedJob, flow_id: int) -> bool:
    """Move the job to the flow in which it can be claimed; False: it is no longer QUEUED, or has moved.

    No fence: also a fetch that has outlasted its lease has stored the inputs.
    """
    values = {"id": job.id, "from_flow": job.flow_id, "to_flow": flow_id}
    return connection.execute(_FETCHED, values).rowcount == 1


def put_off(connection: Connection, job: UnfetchedJob, seconds: float, *, failed: bool) -> None:
    """Let the job be due again in `seconds`, if the lease still holds."""
    values = {
        "id": job.id,
        "seconds": seconds,
        "failures": int(failed),
        "leased_until": job.leased_until,
    }
    connection.execute(_PUT_OFF, values)


def hold_lease(connection: Connection, job: UnfetchedJob) -> bool:
    """Lock the job until the transaction ends; False: the lease holds no longer."""
    values = {"id": job.id, "leased_until": job.leased_until}
    return connection.execute(_HOLD, values).one_or_none() is not None
