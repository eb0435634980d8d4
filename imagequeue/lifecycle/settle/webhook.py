"""What the webhooks of a job that ends have to say, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.job_view import JobView
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.status_body import encode
from imagequeue.domain.webhook_events import REQUEST_EVENTS, event_body, wants
from imagequeue.store import webhook_endpoints
from imagequeue.store.jobs.settlements import LockedJob
from imagequeue.store.jobs.views import read_views
from imagequeue.store.outbox import NewDelivery

log = structlog.get_logger()


def own_body(
    connection: Connection,
    job: LockedJob,
    written: Callable[[JobView], Mapping[str, Any]],
    media_url: Callable[[str], str],
) -> str | None:
    """What the job's dialect writes about it; None: it breaks.

    A dialect that breaks must not undo what is settled here: the image is paid, and would be asked for
    again. Its client gets the status body then.
    """
    try:
        told = encode(written(read_views(connection, [job.id], media_url)[job.id]))
        return told.encode("utf-8", "replace").decode()
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001  # its text is not logged: it may hold a prompt
        reason = type(error).__name__
        log.error("webhook_body_failed", job_id=str(job.id), dialect=job.dialect, reason=reason)  # noqa: TRY400
        return None


def events(
    connection: Connection,
    jobs: Sequence[LockedJob],
    status: JobStatus,
    bodies: Mapping[UUID, str],
    due: Callable[[LockedJob], datetime],
) -> Iterator[NewDelivery]:
    """The event of jobs that ended with `status`, for the endpoints of their accounts that want it.

    `bodies` are the final bodies of the jobs.
    """
    event_type = REQUEST_EVENTS[status]
    accounts = {job.account_id for job in jobs}
    endpoints = webhook_endpoints.endpoints_of(connection, list(accounts)) if accounts else []
    for job in jobs:
        body = event_body(f"evt_{job.id}", event_type, job.now, bodies[job.id])
        for one in endpoints:
            if one.account_id == job.account_id and wants(one.event_types, event_type):
                yield NewDelivery(one.account_id, job.id, one.url, one.target, body, due(job), one.id)
