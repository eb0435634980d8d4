"""A submit, from its key to the answer; what differs between dialects is in the dialect.

Key, allowance, size, headers and the submit itself are the same for all. `read` is pure and may be slow: it
runs in a thread where the body is large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from fastapi import Request, Response

from api.account_coalescer import Group, coalesced_by_account
from api.auth import authenticate, spend_allowance
from api.body import Content, any_content, reader_of
from api.bulkhead import isolated
from api.errors import rendered
from api.job_answers import final_answer
from api.request_id_header import tag_request
from api.services import ApiServices, services_of
from api.submission_headers import SubmissionHeaders, read_submission_headers
from imagequeue.dialects.dialect import ClientRequest, Dialect, SubmittedBody
from imagequeue.domain.errors import ImagequeueError
from imagequeue.domain.images import ImageRequest
from imagequeue.lifecycle.submit.submission import Accepted, Submission, fingerprint
from imagequeue.lifecycle.submit.uploads import RequestWithUploads
from imagequeue.store.money.accounts import StoredKey

R = TypeVar("R")

UPLOAD_THREADS = 4
"""How many submits may have their input images decoded and stored at a time; the others wait in line."""
UPLOAD_PATIENCE = 30.0
"""Seconds after which a submit with input images is told to try again."""


async def submit_job(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """Serve a submit: with the job's id once the job is durable, or with the final job.

    Raises:
        ImagequeueError: the submit was refused, and nothing was stored or charged; or the client has waited
            for long enough.
    """
    services = services_of(request)
    key = await authenticate(request)
    await spend_allowance(services, key)
    submission, waits = await _read(request, dialect, asked, key)
    accepted = await accept(services, submission)
    tag_request(request, accepted.request_id)
    if waits:
        repeat_joins = submission.idempotency_key is not None or submission.retry_count is not None
        return await final_answer(request, dialect, asked, accepted, repeat_joins=repeat_joins)
    headers = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    return rendered(dialect.accepted(asked, accepted.request_id), headers)


async def _read(
    request: Request, dialect: Dialect, asked: ClientRequest, key: StoredKey
) -> tuple[Submission, bool]:
    """Read what is asked for. A large body is on disk, and in memory only while it is parsed and decoded."""
    services = services_of(request)
    runtime = services.runtime
    headers = read_submission_headers(request.headers, runtime.policy, datetime.now(UTC))
    parse = reader_of(request, asked.route.bodies)

    def read(content: Content) -> tuple[SubmittedBody, RequestWithUploads]:
        body = parse(content)
        return body, dialect.read(asked, body, runtime.catalog)

    def made(body: SubmittedBody, ask: RequestWithUploads) -> tuple[Submission, bool]:
        same = fingerprint(key.account_id, request.url.path, body.identity())
        submission = replace(
            _submission(key, dialect, headers, ask.keep(runtime), same), notes=ask.written_notes()
        )
        return submission, asked.route.waits if ask.waits is None else ask.waits

    async with any_content(request, runtime.settings.max_body_bytes) as content:
        if content.is_large:
            return await prepare_uploads(services, lambda: made(*read(content)))
        body, ask = read(content)
    if ask.has_uploads:
        return await prepare_uploads(services, lambda: made(body, ask))
    return made(body, ask)


def _account_of(submission: Submission) -> UUID:
    return submission.account_id


@coalesced_by_account(account_of=_account_of, threads=2)
def accept(services: ApiServices, group: Group[Submission]) -> Sequence[Accepted | ImagequeueError]:
    """Make submissions into durable jobs, all of them in one commit."""
    return services.submit(group.items, group.waits, group.lock_seconds)


@isolated(threads=UPLOAD_THREADS, patience=UPLOAD_PATIENCE)
def prepare_uploads(services: ApiServices, work: Callable[[], R]) -> R:
    """Do what decodes images and waits for the storage."""
    del services
    return work()


def _submission(
    key: StoredKey, dialect: Dialect, headers: SubmissionHeaders, ask: ImageRequest, same: bytes
) -> Submission:
    return Submission(
        account_id=key.account_id,
        api_key_id=key.id,
        request=ask,
        dialect=dialect.name,
        fingerprint=same,
        lane=headers.lane,
        start_by=headers.start_by,
        finish_by=headers.finish_by,
        webhook_url=headers.webhook_url,
        idempotency_key=headers.idempotency_key,
        retry_count=headers.retry_count,
        client_headers=headers.client_headers,
    )
