"""`GET /v2/requests/{id}/events`: every status change as server-sent events, until the job is final.

The id of a server-sent event is that of its row, so a client that reconnects with `Last-Event-ID` misses no
event and gets none twice. Comments keep silent connections open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from api.answer_models import EVENTS
from api.auth import authenticate
from api.documented import documented
from api.query import query
from api.requests import own_job
from api.services import ApiServices, services_of
from api.watch import Watch, Watcher, read_news, watch_of
from imagequeue.domain.errors import InvalidRequest, NotFound
from imagequeue.domain.status_body import timestamp
from imagequeue.store.jobs.reads import RequestStatus, StatusEvent, job_of_event

router = APIRouter(prefix="/v2/requests", tags=["Requests"])

PING_SECONDS = 15.0
"""Between two comments: proxies close connections that are silent for longer, often after 60 s."""

_LARGEST_ID = 2**63 - 1
_NOT_OURS = "Last-Event-ID: use the id of an event of this stream"


LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The `id` of the last event that was received; the stream goes on behind it.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"},
}


@router.get(
    "/{request_id}/events",
    response_class=StreamingResponse,
    **documented(EVENTS, NotFound, InvalidRequest, parameters=(LAST_EVENT_ID,), headers=("X-Request-Id",)),
)
async def stream_events(request: Request, request_id: str) -> StreamingResponse:
    """Follow a job; resume with `Last-Event-ID`."""
    job = await own_job(request, await authenticate(request), request_id)
    after = _last_event_id(request)
    if after and not await query(services_of(request), lambda connection: _is_past(connection, job, after)):
        raise InvalidRequest(_NOT_OURS)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = _stream(services_of(request), watch_of(request), job, after)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


async def _stream(services: ApiServices, watch: Watch, job: RequestStatus, after: int) -> AsyncGenerator[str]:
    past = await read_news(services, [(job.job_id, after)])
    for event in past:
        yield _line(job, event)
    if job.status.is_final or any(event.status.is_final for event in past):
        return
    with watch.watching(job.job_id, past[-1].id if past else after) as watcher:
        async for line in _news(job, watcher):
            yield line


async def _news(job: RequestStatus, watcher: Watcher) -> AsyncGenerator[str]:
    while True:
        try:
            async with asyncio.timeout(PING_SECONDS):
                event = await watcher.next()
        except TimeoutError:
            yield ": waiting\n\n"
            continue
        if event is None:
            return
        yield _line(job, event)
        if event.status.is_final:
            return


def _line(job: RequestStatus, event: StatusEvent) -> str:
    data = {
        "request_id": job.request_id,
        "status": event.status.value,
        "created_at": timestamp(event.created_at),
    }
    return f"id: {event.id}\nevent: status\ndata: {json.dumps(data)}\n\n"


def _last_event_id(request: Request) -> int:
    text = request.headers.get("last-event-id", "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST_ID):  # noqa: PLR2004
        raise InvalidRequest(_NOT_OURS)
    return int(text)


def _is_past(connection: Connection, job: RequestStatus, event_id: int) -> bool:
    """Whether the event may have been sent for this job: it is the job's, or the retention has deleted it."""
    owner = job_of_event(connection, event_id)
    return owner == job.job_id or (owner is None and job.status.is_final)
