"""The webhooks of a job: their log, and their redelivery."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.auth import authenticate
from api.change import LOCK_SECONDS, change
from api.documented import about_a_job, query_parameters
from api.parameters import Parameters, read_parameters
from api.query import query
from api.requests import own_job
from api.services import services_of
from api.webhook_models import DeliveryLog, Redelivery
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.status_body import timestamp
from imagequeue.lifecycle.deliver.redeliver import redeliver_job
from imagequeue.store.delivery_log import LoggedAttempt, LoggedDelivery, read_log
from imagequeue.store.redeliveries import MOST_ATTEMPTS

router = APIRouter(prefix="/v2/requests", tags=["Webhooks"])

PAGE = 50
"""Attempts of each delivery that one answer has: each may show 4 KiB of what was answered."""


class LogPage(Parameters):
    """The query of the log."""

    before: Annotated[int, Field(ge=0, le=MOST_ATTEMPTS + 1)] = MOST_ATTEMPTS + 1


_PARAMETERS = query_parameters(LogPage, {"before": "Only attempts with a smaller number."})


@router.get("/{request_id}/deliveries", **about_a_job(DeliveryLog, InvalidRequest, parameters=_PARAMETERS))
async def read_deliveries(request: Request, request_id: str) -> Response:
    """The webhooks of a job, each with its last 50 attempts.

    Query: `before` (the number of an attempt): those before that one.
    """
    key = await authenticate(request)
    before = read_parameters(request.query_params, LogPage).before
    job = await own_job(request, key, request_id)
    found = await query(
        services_of(request),
        lambda connection: read_log(connection, job.job_id, before=before, most=PAGE),
    )
    return Response(_body(found), media_type="application/json")


@router.post("/{request_id}/redeliver", status_code=202, **about_a_job(Redelivery, status=202))
async def redeliver(request: Request, request_id: str) -> Response:
    """Send the webhooks of a job again: the same `webhook-id`, a fresh timestamp, its whole schedule.

    An attempt that is being made at this moment goes on instead.
    """
    job = await own_job(request, await authenticate(request), request_id)
    services = services_of(request)
    count = await change(
        services, lambda runtime: redeliver_job(runtime.engine, job.job_id, lock_seconds=LOCK_SECONDS)
    )
    body = json.dumps({"request_id": job.request_id, "redelivered": count})
    return Response(body, 202, media_type="application/json")


def _body(found: Sequence[LoggedDelivery]) -> str:
    return json.dumps({"data": [_delivery(one) for one in found]})


def _delivery(one: LoggedDelivery) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "webhook_id": one.webhook_id,
        "url": one.url,
        "state": one.state,
        "attempt_count": one.attempt_count,
        "next_attempt_at": timestamp(one.next_attempt_at) if one.state == "PENDING" else None,
        "created_at": timestamp(one.created_at),
        "finished_at": one.finished_at and timestamp(one.finished_at),
        "attempts": [_attempt(made) for made in one.attempts],
    }


def _attempt(made: LoggedAttempt) -> dict[str, Any]:
    return {
        "number": made.number,
        "started_at": timestamp(made.started_at),
        "latency_ms": made.latency_ms,
        "http_status": made.http_status,
        "outcome": made.outcome,
        "response": made.response_excerpt,
    }
