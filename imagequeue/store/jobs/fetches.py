"""Jobs whose input images are still to be fetched: QUEUED, in a flow that no deployment serves yet.

`jobs.not_before` is the whole schedule: when the next try is due, or when the lease of the one that runs
ends. What a claim has set it to is also the fence: whoever comes after the lease finds another value there.
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

    `failures` counts the tries that failed before; `deaths` the tries, this one included, of which nobody
    ever said what came of them.
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
    """Lease the job that has been due longest in a flow at random: no account waits for another one's line.

    Args:
        connection: the transaction.
        lanes: those of which jobs are wanted.
        passed_over: accounts that have enough tries under way.
        lease_seconds: after so long the job is due again, whatever became of the try.
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
    """Move the job to the flow in which it can be claimed; False: it is no longer where it was.

    Whose try it was does not matter: the inputs are stored.
    """
    values = {"id": job.id, "from_flow": job.flow_id, "to_flow": flow_id}
    return connection.execute(_FETCHED, values).rowcount == 1


def put_off(connection: Connection, job: UnfetchedJob, seconds: float, *, failed: bool) -> None:
    """Let the job be due again in some seconds, if the lease still holds."""
    values = {
        "id": job.id,
        "seconds": seconds,
        "failures": int(failed),
        "leased_until": job.leased_until,
    }
    connection.execute(_PUT_OFF, values)


def hold_lease(connection: Connection, job: UnfetchedJob) -> bool:
    """Lock the job, if the lease still holds: nobody else has it until the transaction ends."""
    values = {"id": job.id, "leased_until": job.leased_until}
    return connection.execute(_HOLD, values).one_or_none() is not None
