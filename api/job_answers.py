"""Answers about a job in the words of its dialect: status, result, and the end that a submit awaits."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from fastapi import Request, Response

from api.auth import authenticate
from api.errors import rendered
from api.image_bodies import Placeholders, image_answer
from api.query import query
from api.requests import cancel_job as end_job
from api.requests import own_job
from api.services import ApiServices, services_of
from api.waiting import JobWait
from imagequeue.dialects.dialect import ClientRequest, Dialect
from imagequeue.domain.errors import AlreadyFinal, NotFound
from imagequeue.domain.job_view import JobView
from imagequeue.media_urls import media_urls
from imagequeue.store.jobs.reads import RequestStatus
from imagequeue.store.jobs.views import read_views


async def show_job(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """Answer a question about one's own job, whatever dialect it was submitted in.

    Raises:
        NotFound: there is none.
    """
    job = await _own_job(request, asked)
    return await _answer(services_of(request), dialect, asked, job.job_id)


async def cancel_job(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """End one's own job, and answer with what it is then.

    Raises:
        NotFound: as `show_job`.
        AlreadyFinal: it was final before.
    """
    services = services_of(request)
    job = await _own_job(request, asked)
    if not await end_job(services, (job.account_id, job.job_id)):
        raise AlreadyFinal
    return await _answer(services, dialect, asked, job.job_id)


async def final_answer(request: Request, dialect: Dialect, asked: ClientRequest, wait: JobWait) -> Response:
    """Wait until an accepted job is final, and answer with it.

    Raises:
        StillRunning: as `JobWait.until_final`.
    """
    async for _ in wait.until_final():
        pass
    accepted = wait.accepted
    return await _answer(services_of(request), dialect, asked, accepted.job_id, replayed=accepted.replayed)


async def _own_job(request: Request, asked: ClientRequest) -> RequestStatus:
    return await own_job(request, await authenticate(request), asked.parameters["request_id"])


async def _answer(
    services: ApiServices, dialect: Dialect, asked: ClientRequest, job_id: UUID, *, replayed: bool = False
) -> Response:
    job = await read_view(services, dialect, job_id)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    if not dialect.wants_content(asked, job):
        return rendered(dialect.render(asked, job), headers)
    placeholders = Placeholders()
    answer = dialect.render(asked, placeholders.put_into(job))
    return await image_answer(services, answer, placeholders, headers)


async def read_view(services: ApiServices, dialect: Dialect, job_id: UUID) -> JobView:
    """A job as a dialect may see it: what another dialect has noted with it means nothing to this one.

    Raises:
        NotFound: there is none, or the retention has deleted it.
    """
    runtime = services.runtime
    media_url = media_urls(runtime.settings, runtime.keyring)
    found = await query(services, lambda connection: read_views(connection, [job_id], media_url).get(job_id))
    if found is None:
        raise NotFound("No such request")
    return found if found.dialect == dialect.name else replace(found, notes={})
