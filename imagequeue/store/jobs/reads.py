"""What clients may read of their jobs. Every function takes lists, so a group of polls is one query."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from imagequeue.domain.forecast import Estimate
from imagequeue.domain.ids import request_id, uuid7_floor
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.status_body import encode, status_body


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """What a poll shows of a job. `final_body` is what settling stored, byte for byte; None until then."""

    job_id: UUID
    account_id: UUID
    model_id: str
    operation: str
    status: JobStatus
    created_at: datetime
    updated_at: datetime
    final_body: str | None
    flow_id: int
    missing_images: int

    @property
    def waits(self) -> bool:
        """Whether an image of it still needs a call: its first one, or another one after a failure."""
        return not self.status.is_final and self.missing_images > 0

    @property
    def request_id(self) -> str:
        """What the client calls the job."""
        return request_id(self.model_id, self.operation, self.job_id)

    def body(self, estimate: Estimate | None = None) -> str:
        """The status body as JSON text; `estimate` is the position and ETA of a job that waits."""
        waiting = estimate and {
            "queue_position": estimate.position,
            "eta_seconds": None if estimate.eta_seconds is None else round(estimate.eta_seconds, 1),
        }
        return self.final_body or encode(
            status_body(
                job_id=self.job_id,
                model_id=self.model_id,
                operation=self.operation,
                status=self.status,
                created_at=self.created_at,
                updated_at=self.updated_at,
            )
            | (waiting or {})
        )


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which of an account's jobs to list. `before` pages: only older jobs than that one.

    Times are aware, and compared with `created_at` as it is shown, in whole milliseconds: `created_after` is
    inclusive, `created_before` exclusive.
    """

    account_id: UUID
    statuses: Collection[JobStatus] = ()
    model_id: str | None = None
    batch_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    before: UUID | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A job entered a status. Ids grow within a job."""

    id: int
    job_id: UUID
    status: JobStatus
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One upstream call, as its job's owner may see it."""

    id: UUID
    deployment: str
    state: str
    image_count: int
    created_at: datetime
    called_at: datetime | None
    finished_at: datetime | None
    http_status: int | None
    reason: str | None
    cost_usd: Decimal | None


_STATUS = """
    SELECT jobs.id, jobs.account_id, flows.model_id, split_part(flows.requirement, '/', 1) AS operation,
        jobs.status, jobs.created_at, jobs.updated_at, job_results.body,
        jobs.flow_id, jobs.wanted
    FROM jobs
    JOIN flows ON flows.id = jobs.flow_id
    LEFT JOIN job_results ON job_results.job_id = jobs.id
"""

_STATUSES = text(f"{_STATUS} WHERE jobs.id = ANY(:job_ids)")

_EVENTS = text("""
    SELECT events.id, events.job_id, events.status, events.created_at
    FROM unnest(CAST(:job_ids AS uuid[]), CAST(:after_ids AS bigint[])) AS seen (job_id, after_id)
    JOIN events ON events.job_id = seen.job_id AND events.id > seen.after_id
    ORDER BY events.id
""")

_ATTEMPTS = text("""
    SELECT id, deployment, state, image_count, created_at, called_at, finished_at, http_status, reason,
        cost_usd
    FROM attempts WHERE job_id = :job_id ORDER BY id
""")


def read_statuses(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, RequestStatus]:
    """The jobs that exist, of any account: the caller compares `account_id`."""
    rows = connection.execute(_STATUSES, {"job_ids": list(job_ids)})
    return {row.id: _status(row) for row in rows}


def list_jobs(connection: Connection, job_filter: JobFilter) -> list[RequestStatus]:
    """One page of an account's jobs, newest first."""
    conditions = ["jobs.account_id = :account_id"]
    conditions += [condition for name, condition in _CONDITIONS.items() if getattr(job_filter, name)]
    statement = f"{_STATUS} WHERE {' AND '.join(conditions)} ORDER BY jobs.id DESC LIMIT :limit"
    return [_status(row) for row in connection.execute(text(statement), _parameters(job_filter))]


def events_after(connection: Connection, seen: Sequence[tuple[UUID, int]]) -> list[StatusEvent]:
    """The events of each job after the last one that its reader has seen, in order."""
    rows = connection.execute(
        _EVENTS, {"job_ids": [job for job, _ in seen], "after_ids": [after for _, after in seen]}
    )
    return [StatusEvent(row.id, row.job_id, JobStatus(row.status), row.created_at) for row in rows]


def attempts_of(connection: Connection, job_id: UUID) -> list[AttemptRecord]:
    """Every upstream call that was granted for a job, oldest first."""
    return [AttemptRecord(*row) for row in connection.execute(_ATTEMPTS, {"job_id": job_id})]


_SHOWN = "date_trunc('milliseconds', jobs.created_at)"
_SLACK = timedelta(minutes=5)
"""How far the time in an id and the `created_at` of its row may lie apart."""

_CONDITIONS = {
    "statuses": "jobs.status = ANY(:statuses)",
    "model_id": "flows.model_id = :model_id",
    "batch_id": "flows.batch_id = :batch_id",
    "created_after": f"jobs.id >= :floor AND {_SHOWN} >= :created_after",
    "created_before": f"jobs.id < :ceiling AND {_SHOWN} < :created_before",
    "before": "jobs.id < :before",
}
"""Conditions by the field of `JobFilter` that needs them.

An id is a UUIDv7, so a range of time is a range of the primary key, give or take `_SLACK`: the id has the
time of the API's machine before the transaction, `created_at` the database's at the insert.
"""


def _parameters(job_filter: JobFilter) -> dict[str, Any]:
    floor, ceiling = job_filter.created_after, job_filter.created_before
    return {
        "account_id": job_filter.account_id,
        "statuses": [status.value for status in job_filter.statuses],
        "model_id": job_filter.model_id,
        "batch_id": job_filter.batch_id,
        "created_after": job_filter.created_after,
        "created_before": job_filter.created_before,
        "floor": floor and uuid7_floor(floor - _SLACK),
        "ceiling": ceiling and uuid7_floor(ceiling + _SLACK),
        "before": job_filter.before,
        "limit": job_filter.limit,
    }


def _status(row: Row[*tuple[Any, ...]]) -> RequestStatus:
    return RequestStatus(
        row.id,
        row.account_id,
        row.model_id,
        row.operation,
        JobStatus(row.status),
        row.created_at,
        row.updated_at,
        row.body,
        row.flow_id,
        row.wanted,
    )


def job_of_event(connection: Connection, event_id: int) -> UUID | None:
    """The job that an event is of; None: there is no such event."""
    statement = text("SELECT job_id FROM events WHERE id = :id")
    return connection.execute(statement, {"id": event_id}).scalar_one_or_none()
