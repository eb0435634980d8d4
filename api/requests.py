"""The routes about jobs of the client's own account, the same for all dialects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api.account_coalescer import CallGroup, coalesced_by_account
from api.answer_headers import tag_request
from api.answer_models import JobPage, JobState, UpstreamCalls, WaitingJobState
from api.auth import authenticate
from api.coalescer import coalesced
from api.direct_routes import DirectRoute
from api.documented import about_a_job, documented
from api.listing import PARAMETERS, read_listing, read_page
from api.query import query
from api.services import ApiServices, services_of
from imagequeue.domain.batches import LineError
from imagequeue.domain.errors import AlreadyFinal, InvalidRequest, NotFound
from imagequeue.domain.forecast import Estimate
from imagequeue.domain.ids import model_label, split_request_id
from imagequeue.domain.jobs import AttemptState, JobStatus
from imagequeue.domain.money import plain
from imagequeue.domain.status_body import timestamp
from imagequeue.store.database import one_statement
from imagequeue.store.jobs.reads import AttemptRecord, RequestStatus, attempts_of, read_statuses
from imagequeue.store.money.accounts import StoredKey

router = APIRouter(prefix="/v2/requests", tags=["Requests"], route_class=DirectRoute)

_JSON = "application/json"

CANCELLED = "cancelled"
"""The error of a job that its client cancelled (docs/design/contract.md, "Routes")."""


@router.get("/status/{request_id}", **about_a_job(WaitingJobState, headers=("Retry-After",), counted=False))
async def read_status(request: Request, request_id: str) -> Response:
    """The status of a job. Once it is final the body never changes by a byte.

    While it waits for a call it has `queue_position` and `eta_seconds`, null where they are not known.
    """
    job = await own_job(request, await authenticate(request), request_id)
    if job.status.is_final:
        return Response(job.body(), media_type=_JSON)
    estimate = await read_estimate(services_of(request), (job.flow_id, job.job_id)) if job.waits else None
    headers = {"Retry-After": str(look_again_in(estimate))}
    return Response(job.body(estimate), headers=headers, media_type=_JSON)


LONGEST_PAUSE = 30
"""Seconds, however long the estimate: it may turn out too long, and a job may be cancelled."""


def look_again_in(estimate: Estimate | None) -> int:
    """Whole seconds until the status is worth reading again: the estimate, if there is one.

    It is 1 for a job whose call is in flight or that is too new for an estimate, and the longest pause for a
    job that no deployment serves at the moment.
    """
    if estimate is None or estimate.position is None:
        return 1
    if estimate.eta_seconds is None:
        return LONGEST_PAUSE
    return max(1, min(LONGEST_PAUSE, ceil(estimate.eta_seconds)))


@router.get("/{request_id}/attempts", **about_a_job(UpstreamCalls))
async def read_attempts(request: Request, request_id: str) -> Response:
    """Every upstream call that was made for a job."""
    key = await authenticate(request)
    job = await own_job(request, key, request_id)
    attempts = await query(services_of(request), lambda connection: attempts_of(connection, job.job_id))
    body = {"data": [_attempt(attempt, operator=key.operator) for attempt in attempts]}
    return Response(json.dumps(body), media_type=_JSON)


@router.post(
    "/{request_id}/cancel", status_code=202, **about_a_job(JobState, AlreadyFinal, status=202, counted=False)
)
async def cancel(request: Request, request_id: str) -> Response:
    """Stop a job: it is FAILED with the error `cancelled`, and its hold is returned.

    A call that is in flight may finish; it is not charged.
    """
    job = await own_job(request, await authenticate(request), request_id)
    services = services_of(request)
    if job.status.is_final or not await cancel_job(services, (job.account_id, job.job_id)):
        raise AlreadyFinal
    final = await find_job(services, job.job_id) or job
    return Response(final.body(), 202, media_type=_JSON)


@router.get("", **documented(JobPage, InvalidRequest, parameters=PARAMETERS))
async def read_list(request: Request) -> Response:
    """The jobs of the account, newest first."""
    key = await authenticate(request)
    services = services_of(request)
    wanted = read_listing(request.query_params, key.account_id, services.runtime.catalog)
    jobs = await read_page(services, wanted)
    more = len(jobs) == wanted.limit
    cursor = json.dumps(str(jobs[-1].job_id) if more else None)
    data = ",".join(job.body() for job in jobs)
    return Response(f'{{"data":[{data}],"next_cursor":{cursor}}}', media_type=_JSON)


async def own_job(request: Request, key: StoredKey, request_id: str) -> RequestStatus:
    """The job of a request id; from here on the answer has the `X-Request-Id` header.

    Raises:
        NotFound: there is none, or it belongs to another account.
    """
    label, job_id = split_request_id(request_id)
    job = await find_job(services_of(request), job_id)
    if job is None or job.account_id != key.account_id or model_label(job.model_id, job.operation) != label:
        raise NotFound(f"No request '{request_id[:200]}'")
    tag_request(request, job.request_id)
    return job


@coalesced(threads=2)
def find_job(services: ApiServices, job_ids: list[UUID]) -> Sequence[RequestStatus | None]:
    """Where jobs stand, whosever they are; None where there is none."""
    with one_statement(services.runtime.engine) as connection:
        found = read_statuses(connection, job_ids)
    return [found.get(job_id) for job_id in job_ids]


def _account_of(job: tuple[UUID, UUID]) -> UUID:
    return job[0]


@coalesced_by_account(account_of=_account_of, threads=1)
def cancel_job(services: ApiServices, group: CallGroup[tuple[UUID, UUID]]) -> Sequence[bool]:
    """End jobs, each given by its account and its id, as FAILED; which of them were still live."""
    job_ids = [job_id for _, job_id in group.items]
    end = services.settlement.end
    code = LineError.CANCELLED
    ended = set(end(job_ids, JobStatus.FAILED, CANCELLED, code, lock_seconds=group.lock_seconds))
    return [job_id in ended for job_id in job_ids]


@coalesced(threads=1)
def read_estimate(services: ApiServices, waiting: list[tuple[int, UUID]]) -> Sequence[Estimate]:
    """What waiting jobs may expect; each is its flow and its id."""
    return [services.forecast.estimate(flow_id, job_id) for flow_id, job_id in waiting]


def _attempt(attempt: AttemptRecord, *, operator: bool) -> dict[str, Any]:
    """An attempt as its client may see it; what an upstream said about our account is for operators only."""
    told = operator or attempt.state == AttemptState.REFUSED
    return {
        "id": str(attempt.id),
        "deployment": attempt.deployment,
        "outcome": attempt.state,
        "image_count": attempt.image_count,
        "created_at": timestamp(attempt.created_at),
        "called_at": attempt.called_at and timestamp(attempt.called_at),
        "finished_at": attempt.finished_at and timestamp(attempt.finished_at),
        "http_status": attempt.http_status,
        "reason": attempt.reason if told else None,
        "cost_usd": None if attempt.cost_usd is None else plain(attempt.cost_usd),
    }
