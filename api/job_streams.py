"""A submit that is answered with server-sent events, until its job is final.

The dialect writes the events. Comments keep the connection open while the job goes on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import Response
from fastapi.responses import StreamingResponse

from api.errors import refusal_of
from api.image_bodies import ImageBody, Placeholders, pieces, require_images
from api.job_answers import read_view
from api.waiting import JobWait
from imagequeue.dialects.dialect import ClientRequest, StreamingDialect

PING = b": ping\n\n"
PING_SECONDS = 15.0
"""Between two comments: proxies close connections that are silent for longer, often after 60 s."""


def stream_job(dialect: StreamingDialect, asked: ClientRequest, wait: JobWait) -> Response:
    """Answer a submit with the events of its job."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    if wait.accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return StreamingResponse(_events(dialect, asked, wait), 200, headers, media_type="text/event-stream")


async def _events(dialect: StreamingDialect, asked: ClientRequest, wait: JobWait) -> AsyncGenerator[bytes]:
    if begin := dialect.stream_begin(asked, wait.accepted.request_id):
        yield begin.encode("utf-8", "replace")
    try:
        async for _ in wait.until_final(PING_SECONDS):
            yield PING
        end = await _end(dialect, asked, wait)
    except Exception as error:  # noqa: BLE001  # the status is sent: whatever it is, it is told here
        yield dialect.stream_refused(asked, refusal_of(error)).encode("utf-8", "replace")
        return
    async for piece in pieces(wait.services, end):
        yield piece


async def _end(dialect: StreamingDialect, asked: ClientRequest, wait: JobWait) -> ImageBody:
    """The last events about a final job, once its images are known to be there."""
    placeholders = Placeholders()
    job = placeholders.put_into(await read_view(wait.services, dialect, wait.accepted.job_id))
    body = placeholders.cut(dialect.stream_end(asked, job))
    if body.images:
        await require_images(wait.services, body.images)
    return body
