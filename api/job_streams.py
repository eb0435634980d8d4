"""A submit that is answered with server-sent events, until its job is final.

The dialect writes the events. Comments keep the connection open while the job goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Response

from api.errors import refusal_of
from api.image_bodies import ImageBody, ImageResponse, Placeholders, pieces, require_images
from api.job_answers import read_view
from api.services import services_of
from api.waiting import JobWait
from imagequeue.dialects.dialect import ClientRequest, StreamingDialect

PING = b": ping\n\n"
PING_SECONDS = 15.0
"""Between two comments: proxies close connections that are silent for longer, often after 60 s."""


def stream_job(dialect: StreamingDialect, asked: ClientRequest, wait: JobWait) -> Response:
    """Answer a submit with the events of its job."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return ImageResponse(_events(dialect, asked, wait), 200, headers, "text/event-stream")


async def _events(dialect: StreamingDialect, asked: ClientRequest, wait: JobWait) -> AsyncGenerator[bytes]:
    services = services_of(wait.request)
    if begin := dialect.stream_begin(asked, wait.accepted.request_id):
        yield begin.encode("utf-8", "replace")
    async with AsyncExitStack() as held:
        try:
            async for ping in pings(wait.until_final()):
                yield ping
            end = await _end(dialect, asked, wait)
            if end.images:
                place = services.image_budget.place(wait.account_id)
                async for ping in pings(held.enter_async_context(place)):
                    yield ping
                await require_images(services, end.images)
        except Exception as error:  # noqa: BLE001  # the status is sent: whatever it is, it is told here
            yield dialect.stream_refused(asked, refusal_of(error)).encode("utf-8", "replace")
            return
        async for piece in pieces(services, end):
            yield piece


async def pings(work: Coroutine[Any, Any, object], seconds: float = PING_SECONDS) -> AsyncGenerator[bytes]:
    """A comment every so many seconds until work is done. Work that nobody waits for any more is cancelled.

    Raises:
        Exception: what the work raised.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=seconds))[0]:
            yield PING
        task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _end(dialect: StreamingDialect, asked: ClientRequest, wait: JobWait) -> ImageBody:
    """The last events about a final job."""
    placeholders = Placeholders()
    view = await read_view(services_of(wait.request), dialect, wait.accepted.job_id)
    return placeholders.cut(dialect.stream_end(asked, placeholders.put_into(view)))
