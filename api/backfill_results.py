"""What the lines of a batch brought: lines, results as NDJSON, errors by code, and events while it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy import Connection

from api.answer_models import EVENTS
from api.auth import authenticate
from api.batch_models import RESULTS, BatchLines, ErrorGroups
from api.batch_objects import error_groups, shown_batch
from api.batches import answer, own_batch
from api.bulkhead import isolated
from api.coalescer import coalesced
from api.documented import documented, query_parameters
from api.parameters import COMMAS, Parameters, read_parameters
from api.query import query
from api.services import ApiServices, services_of
from api.shares import hold, shares_of
from imagequeue.domain.batches import ENDED_BATCHES, LineState
from imagequeue.domain.errors import InvalidRequest, NotFound
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.domain.money import plain
from imagequeue.media_urls import media_urls
from imagequeue.store.batches.results import (
    LinePage,
    LineView,
    errors_by_code,
    finished_lines,
    list_lines,
    named_line,
)
from imagequeue.store.batches.views import BatchView, find_batches
from imagequeue.store.jobs.views import read_views

router = APIRouter(prefix="/v2/batches", tags=["Batches"])

LINES_AT_ONCE = 200
"""Lines that one query reads; the client takes them before the next ones are read."""

LOOK_SECONDS = 1.0
"""Between two looks at a batch whose events are followed."""

PING_LOOKS = 15
"""A stream that is silent for longer than that many looks is closed by proxies."""


States = Annotated[tuple[LineState, ...], COMMAS]


class LineQuery(Parameters):
    """The query of the lines."""

    custom_id: Annotated[str | None, Field(max_length=512)] = None
    state: States = ()
    cursor: Annotated[int, Field(ge=0, le=2_000_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class ResultQuery(Parameters):
    """The query of the results."""

    after: Annotated[int, Field(ge=0, le=2_000_000_000)] = 0
    state: States = ()
    limit: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


_LINES = query_parameters(
    LineQuery,
    {
        "custom_id": "The line with this name alone.",
        "state": "Only lines in one of these states.",
        "cursor": "The `next_cursor` of the page before.",
        "limit": "Of a page.",
    },
)
_RESULTS = query_parameters(
    ResultQuery,
    {
        "after": "The `cursor` of the last result that was read; the results go on behind it.",
        "state": "Only lines in one of these states.",
        "limit": "At most so many.",
    },
)


@router.get("/{batch_id}/lines", **documented(BatchLines, NotFound, InvalidRequest, parameters=_LINES))
async def read_lines(request: Request, batch_id: str) -> Response:
    """The lines in the order of the file, with their jobs and errors."""
    await authenticate(request)
    asked = read_parameters(request.query_params, LineQuery, repeated={"state"})
    batch = await own_batch(request, batch_id)

    def read(connection: Connection) -> tuple[list[LineView], dict[UUID, JobView]]:
        if asked.custom_id is not None:
            found = named_line(connection, batch.id, asked.custom_id)
        else:
            found = list_lines(
                connection, LinePage(batch.id, asked.cursor, asked.limit + 1, asked.state or None)
            )
        return found, _jobs(connection, services_of(request), found)

    found, jobs = await query(services_of(request), read)
    more = asked.custom_id is None and len(found) > asked.limit
    shown = found[: asked.limit]
    data = [_line(line, jobs) for line in shown]
    return answer({"data": data, "next_cursor": shown[-1].number if more else None})


@router.get("/{batch_id}/errors", **documented(ErrorGroups, NotFound))
async def read_errors(request: Request, batch_id: str) -> Response:
    """The errors of the lines by code, the most frequent first."""
    batch = await own_batch(request, batch_id)
    found = await query(services_of(request), lambda one: errors_by_code(one, batch.id))
    return answer(error_groups(found))


@router.get(
    "/{batch_id}/results",
    response_class=Response,
    **documented(RESULTS, NotFound, InvalidRequest, parameters=_RESULTS),
)
async def read_results(request: Request, batch_id: str) -> Response:
    """The lines that finished, in the order in which they did; a reader goes on behind the last `cursor`."""
    await authenticate(request)
    asked = read_parameters(request.query_params, ResultQuery, repeated={"state"})
    batch = await own_batch(request, batch_id)
    hold(request, shares_of(request).reads)
    return StreamingResponse(_results(services_of(request), batch, asked), media_type="application/x-ndjson")


@router.get(
    "/{batch_id}/events",
    response_class=StreamingResponse,
    **documented(EVENTS, NotFound),
)
async def stream_events(request: Request, batch_id: str) -> StreamingResponse:
    """Follow a batch: an event whenever its state, its counts or its money change, until it has ended."""
    batch = await own_batch(request, batch_id)
    hold(request, shares_of(request).batch_streams)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = _events(services_of(request), batch)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


async def _results(services: ApiServices, batch: BatchView, asked: ResultQuery) -> AsyncGenerator[str]:
    after, left = asked.after, asked.limit
    while left is None or left > 0:
        most = LINES_AT_ONCE if left is None else min(left, LINES_AT_ONCE)
        page = LinePage(batch.id, after, most, asked.state or None)
        found, jobs = await read_finished(services, page)
        if not found:
            return
        after, left = found[-1].finished or after, None if left is None else left - len(found)
        yield "".join(_result(line, jobs.get(line.job_id) if line.job_id else None) for line in found)


@isolated(what="reads of results", threads=2)
def read_finished(services: ApiServices, page: LinePage) -> tuple[list[LineView], dict[UUID, JobView]]:
    """A page of results. Results have threads of their own: an answer may have five thousand pages."""
    with services.runtime.engine.begin() as connection:
        found = finished_lines(connection, page)
        return found, _jobs(connection, services, found)


def _jobs(connection: Connection, services: ApiServices, found: Sequence[LineView]) -> dict[UUID, JobView]:
    ids = [line.job_id for line in found if line.job_id]
    runtime = services.runtime
    return read_views(connection, ids, media_urls(runtime.settings, runtime.keyring)) if ids else {}


def _line(line: LineView, jobs: dict[UUID, JobView]) -> dict[str, Any]:
    job = jobs.get(line.job_id) if line.job_id else None
    return {
        "number": line.number,
        "custom_id": line.custom_id,
        "state": line.state.value,
        "request_id": job and job.request_id,
        "retries": line.retries,
        "error": _error(line),
    }


def _result(line: LineView, job: JobView | None) -> str:
    """A line of the results; `cursor` is the number of its finishing."""
    images = job.images if job else ()
    told = {
        "cursor": line.finished,
        "number": line.number,
        "custom_id": line.custom_id,
        "request_id": job and job.request_id,
        "status": line.state.value,
        "images": [_image(image) for image in images],
        "cost_usd": plain(job.price_usd) if job and line.state is LineState.COMPLETED else "0",
        "error": _error(line),
    }
    return json.dumps(told, separators=(",", ":")) + "\n"


def _image(image: OutputImage) -> dict[str, Any]:
    return {
        "url": image.url,
        "sha256": image.sha256 and image.sha256.hex(),
        "bytes": image.size_bytes,
        "width": image.width,
        "height": image.height,
        "media_type": image.media_type,
    }


def _error(line: LineView) -> dict[str, str] | None:
    if line.error_code is None:
        return None
    return {"code": line.error_code, "message": line.error_message or ""}


async def _events(services: ApiServices, batch: BatchView) -> AsyncGenerator[str]:
    told, silent, now = "", 0, batch
    while True:
        text = json.dumps(shown_batch(now), separators=(",", ":"))
        if text != told:
            told, silent = text, 0
            yield f"id: {now.finished}\nevent: batch\ndata: {text}\n\n"
        elif silent >= PING_LOOKS:
            silent = 0
            yield ": waiting\n\n"
        if now.state in ENDED_BATCHES:
            return
        await asyncio.sleep(LOOK_SECONDS)
        silent += 1
        now = await look(services, batch.id) or now


@coalesced(threads=1)
def look(services: ApiServices, batch_ids: list[UUID]) -> Sequence[BatchView | None]:
    """Batches, whosever they are, for all streams of this process in one query."""
    with services.runtime.engine.begin() as connection:
        found = find_batches(connection, batch_ids)
    return [found.get(batch_id) for batch_id in batch_ids]
