"""Answers about a job in the words of its dialect: status, result, and the end that a submit awaits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from fastapi import Request, Response

from api.auth import authenticate
from api.coalescer import coalesced
from api.errors import rendered
from api.image_bodies import Placeholders, image_answer
from api.requests import cancel_job as end_job
from api.requests import own_job
from api.services import ApiServices, services_of
from api.waiting import JobWait
from imagequeue.dialects.dialect import ClientRequest, Dialect, Rendered
from imagequeue.domain.errors import AlreadyFinal, NotFound
from imagequeue.domain.job_view import JobView
from imagequeue.media_urls import media_urls
from imagequeue.store.jobs.reads import RequestStatus
from imagequeue.store.jobs.views import read_views

_LEAST_ERROR = 400


async def show_job(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """Answer a question about one's own job, whatever dialect it was submitted in.

    Raises:
        NotFound: there is none.
    """
    job = await _own_job(request, asked)
    return await _answer(services_of(request), dialect, asked, (job.job_id, job.account_id))


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
    return await _answer(services, dialect, asked, (job.job_id, job.account_id))


async def final_answer(dialect: Dialect, asked: ClientRequest, wait: JobWait) -> Response:
    """Wait until an accepted job is final, and answer with it.

    Raises:
        StillRunning: as `JobWait.until_final`.
    """
    await wait.until_final()
    job = wait.accepted.job_id, wait.account_id
    return await _answer(services_of(wait.request), dialect, asked, job)


async def read_view(services: ApiServices, dialect: Dialect, job_id: UUID) -> JobView:
    """A job as a dialect may see it: what another dialect has noted with it means nothing to this one.

    Raises:
        NotFound: there is none, or the retention has deleted it.
    """
    found = await find_view(services, job_id)
    if found is None:
        raise NotFound("No such request")
    return found if found.dialect == dialect.name else replace(found, notes={})


@coalesced(threads=2)
def find_view(services: ApiServices, job_ids: list[UUID]) -> Sequence[JobView | None]:
    """Jobs with their images, whosever they are; None where there is none."""
    media_url = media_urls(services.runtime.settings, services.runtime.keyring)
    with services.runtime.engine.begin() as connection:
        found = read_views(connection, job_ids, media_url)
    return [found.get(job_id) for job_id in job_ids]


async def _own_job(request: Request, asked: ClientRequest) -> RequestStatus:
    return await own_job(request, await authenticate(request), asked.parameters["request_id"])


async def _answer(
    services: ApiServices, dialect: Dialect, asked: ClientRequest, job: tuple[UUID, UUID]
) -> Response:
    """The answer about a job, given by its id and its account."""
    job_id, account_id = job
    view = await read_view(services, dialect, job_id)
    if not dialect.wants_content(asked, view):
        return _told(view, dialect.render(asked, view))
    placeholders = Placeholders()
    answer = dialect.render(asked, placeholders.put_into(view))
    body = placeholders.cut(answer.body)
    if not body.images:
        return _told(view, answer)
    return await image_answer(services, account_id, answer, body)


def _told(view: JobView, answer: Rendered) -> Response:
    """The answer about a job; if it tells of a failure, no repeat changes what has become of the job."""
    pointless = view.status.is_final and answer.status >= _LEAST_ERROR
    return rendered(answer, {"x-should-retry": "false"} if pointless else {})
