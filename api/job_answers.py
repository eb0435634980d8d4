"""Answers about a job in the words of its dialect: status, result, and the end that a submit awaits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

from fastapi import Request, Response

from api.auth import authenticate
from api.errors import rendered
from api.query import query
from api.requests import cancel_job as end_job
from api.requests import find_job, own_job
from api.services import ApiServices, services_of
from api.watch import Watch, watch_of
from imagequeue.dialects.dialect import ClientRequest, Dialect
from imagequeue.domain.errors import AlreadyFinal, NotFound, ServiceUnavailable, StillRunning
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.lifecycle.submit.submission import Accepted
from imagequeue.media.storage import Storage, StorageError
from imagequeue.media_urls import media_urls
from imagequeue.store.jobs.reads import RequestStatus
from imagequeue.store.jobs.views import read_views

WAIT_SECONDS = 300.0
"""Seconds for which a submit that waits is held open: a call may take 180, and waits for its start before."""


async def show_job(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """Answer a question about one's own job of this dialect.

    Raises:
        NotFound: there is none, or it is another dialect's: only that one knows what was noted with it.
    """
    job = await _own_job(request, asked)
    return await _answer(services_of(request), dialect, asked, job.job_id)


async def cancel_job(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """End one's own job of this dialect, and answer with what it is then.

    Raises:
        NotFound: as `show_job`.
        AlreadyFinal: it was final before.
    """
    services = services_of(request)
    job = await _own_job(request, asked)
    await _view(services, dialect, job.job_id)
    if not await end_job(services, (job.account_id, job.job_id)):
        raise AlreadyFinal
    return await _answer(services, dialect, asked, job.job_id)


async def final_answer(
    request: Request, dialect: Dialect, asked: ClientRequest, accepted: Accepted, *, repeat_joins: bool
) -> Response:
    """Wait until an accepted job is final, and answer with it.

    Raises:
        StillRunning: it is not within `WAIT_SECONDS`, or this process ends; the job goes on.
    """
    services = services_of(request)
    if not await _becomes_final(services, watch_of(request), accepted):
        raise StillRunning(
            f"The job goes on: ask for the status of {accepted.request_id}", repeat_joins=repeat_joins
        )
    return await _answer(services, dialect, asked, accepted.job_id, replayed=accepted.replayed)


async def _becomes_final(services: ApiServices, watch: Watch, accepted: Accepted) -> bool:
    if accepted.replayed:  # the events of an old job may be gone
        job = await find_job(services, accepted.job_id)
        if job is not None and job.status.is_final:
            return True
    until = asyncio.get_running_loop().time() + WAIT_SECONDS
    with watch.watching(accepted.job_id, 0) as watcher:
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                event = await watcher.next(left)
            except TimeoutError:
                return False
            if event is None or event.status.is_final:
                return event is not None
    return False


async def _own_job(request: Request, asked: ClientRequest) -> RequestStatus:
    return await own_job(request, await authenticate(request), asked.parameters["request_id"])


async def _answer(
    services: ApiServices, dialect: Dialect, asked: ClientRequest, job_id: UUID, *, replayed: bool = False
) -> Response:
    job = await _view(services, dialect, job_id)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    if not dialect.wants_content(asked, job):
        return rendered(dialect.render(asked, job), headers)
    storage = services.runtime.storage
    return rendered(
        await asyncio.to_thread(lambda: dialect.render(asked, _with_content(job, storage))), headers
    )


async def _view(services: ApiServices, dialect: Dialect, job_id: UUID) -> JobView:
    runtime = services.runtime
    media_url = media_urls(runtime.settings, runtime.keyring)
    found = await query(services, lambda connection: read_views(connection, [job_id], media_url).get(job_id))
    if found is None or found.dialect != dialect.name:
        raise NotFound("No such request")
    return found


def _with_content(job: JobView, storage: Storage) -> JobView:
    """The job with the bytes of its images; it reads files, so it belongs beside the event loop."""
    return replace(job, images=tuple(_read(image, storage) for image in job.images))


def _read(image: OutputImage, storage: Storage) -> OutputImage:
    try:
        return replace(image, content=storage.get(image.storage_key))
    except StorageError as error:
        raise ServiceUnavailable("The images cannot be read at the moment; try again") from error
