"""A submit, from its key to the answer; what differs between dialects is in the dialect.

Key, allowance, size, headers and the submit itself are the same for all. `read` is pure and may be slow: it
runs in a thread where the body is large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from fastapi import Request, Response

from api.account_coalescer import CallGroup, coalesced_by_account
from api.answer_headers import tag_request
from api.auth import authenticate
from api.body import Content, any_content, reader_of
from api.bulkhead import isolated
from api.coalescer import coalesced
from api.errors import rendered
from api.job_answers import final_answer
from api.job_streams import stream_job
from api.preferences import AnswerPlan, read_preferences
from api.requests import find_job
from api.services import ApiServices, services_of
from api.submission_headers import SubmissionHeaders, read_submission_headers
from api.waiting import JobWait
from imagequeue.dialects.dialect import ClientRequest, Dialect, StreamingDialect, SubmittedBody
from imagequeue.domain.errors import (
    IdempotencyMismatch,
    ImagequeueError,
    InsufficientBalance,
    InvalidRequest,
    StillRunning,
)
from imagequeue.domain.ids import new_id
from imagequeue.domain.images import ImageRequest
from imagequeue.lifecycle.submit.funds import require_funds
from imagequeue.lifecycle.submit.submission import Accepted, Submission, fingerprint
from imagequeue.lifecycle.submit.uploads import AnswerKind, RequestWithUploads
from imagequeue.media.gate import reading_upload
from imagequeue.store.database import one_statement
from imagequeue.store.jobs.idempotency import Earlier, KeyClaim, find_keys
from imagequeue.store.money.accounts import StoredKey

R = TypeVar("R")

UPLOAD_THREADS = 4
"""How many submits may have their input images decoded and stored at a time, half of them for one account.
The others wait in line."""
UPLOAD_PATIENCE = 30.0
"""Seconds after which a submit with input images is told to try again."""


async def submit_job(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """Serve a submit: with the job's id once the job is durable, with the final job, or with its events.

    Raises:
        ImagequeueError: the submit was refused, and nothing was stored or charged; or the client has waited
            for long enough.
    """
    services = services_of(request)
    key = await authenticate(request)
    headers = read_submission_headers(request.headers, services.runtime.policy, datetime.now(UTC))
    reading = Reading(services, request, dialect, asked, key, headers)
    try:
        submission, kind = await reading.read()
    except (InvalidRequest, InsufficientBalance):
        found = await earlier_answer(services, reading)
        if found is None:
            raise
        accepted, kind = found, _usual(asked)
    else:
        accepted = await accept(services, submission)
    tag_request(request, accepted.request_id)
    preferences = read_preferences(request.headers)
    plan = preferences.plan(kind, services.runtime.settings.wait_seconds)
    answer = None
    if plan.kind != "id":
        repeat_joins = headers.idempotency_key is not None or headers.retry_count is not None
        wait = JobWait(request, key.account_id, accepted, plan.seconds, repeat_joins)
        answer = await _answered(dialect, asked, plan, wait)
    response = answer or rendered(dialect.accepted(asked, accepted.request_id), {})
    if applied := preferences.applied(plan, accepted=answer is None):
        response.headers.update(applied)
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


async def _answered(
    dialect: Dialect, asked: ClientRequest, plan: AnswerPlan, wait: JobWait
) -> Response | None:
    """The answer with the final job, or with its events; None: it is the job's id.

    Raises:
        StillRunning: the client has waited for long enough, and wants no id.
    """
    if plan.kind == "stream" and isinstance(dialect, StreamingDialect):
        return stream_job(dialect, asked, wait)
    try:
        return await final_answer(dialect, asked, wait)
    except StillRunning:
        if not plan.or_accepted:
            raise
        return None


@dataclass(slots=True)
class Reading:
    """Reads a submit. `same` is what a repeat must share with it; None: its body could not be parsed.

    It holds no part of the body, which may be large: it lives as long as its client waits for the job.
    """

    services: ApiServices
    request: Request
    dialect: Dialect
    asked: ClientRequest
    key: StoredKey
    headers: SubmissionHeaders
    same: bytes | None = None

    async def read(self) -> tuple[Submission, AnswerKind]:
        """What is asked for, and what the client is answered with.

        A large body is on disk, and in memory only while it is parsed and decoded.
        """
        services = self.services
        parse = reader_of(self.request, self.asked.route.bodies)
        with await any_content(self.request, services.runtime.settings.max_body_bytes) as content:
            if content.is_large:
                return await prepare_uploads(services, lambda: self._read_large(parse, content))
            ask = self._read(parse, content)
        if ask.has_uploads:
            return await prepare_uploads(services, lambda: self._made(ask))
        return self._made(ask)

    def _read_large(
        self, parse: Callable[[Content], SubmittedBody], content: Content
    ) -> tuple[Submission, AnswerKind]:
        with reading_upload(content.size):
            return self._made(self._read(parse, content))

    def _read(self, parse: Callable[[Content], SubmittedBody], content: Content) -> RequestWithUploads:
        body = parse(content)
        self.same = fingerprint(self.key.account_id, self.request.scope["path"], body.identity())
        return self.dialect.read(self.asked, body, self.services.runtime.catalog)

    def _made(self, ask: RequestWithUploads) -> tuple[Submission, AnswerKind]:
        assert self.same is not None  # noqa: S101  # `_read` has parsed the body
        notes, same = ask.written_notes(), self.same
        runtime = self.services.runtime
        if ask.has_uploads:
            repeat = (self.key.id, same) if self.headers.retry_count else None
            require_funds(runtime, self.key.account_id, ask.request, repeat_of=repeat)
        stored = ask.store_uploads(runtime)  # last: what is refused leaves nothing
        submission = _submission(self.key, self.dialect, self.headers, stored, same, notes)
        return submission, ask.answer or _usual(self.asked)


async def earlier_answer(services: ApiServices, reading: Reading) -> Accepted | None:
    """What the first submit with this Idempotency-Key was answered; None: there was none, or no key.

    A submit that could be read when it came is still a repeat if it cannot be read now, because its model is
    gone from the catalog or disabled, or the money is spent.

    Raises:
        IdempotencyMismatch: the first one was another request.
    """
    key, same = reading.headers.idempotency_key, reading.same
    if key is None or same is None:
        return None
    claim = KeyClaim(reading.key.account_id, key, same, new_id())
    earlier = await find_earlier(services, claim)
    job = await find_job(services, earlier.job_id) if earlier else None
    if earlier is None or job is None:
        return None
    if earlier.fingerprint != claim.fingerprint:
        raise IdempotencyMismatch
    return Accepted(job.job_id, job.request_id, replayed=True)


@coalesced(threads=1)
def find_earlier(services: ApiServices, claims: list[KeyClaim]) -> Sequence[Earlier | None]:
    """The accepted submits that have these keys."""
    with one_statement(services.runtime.engine) as connection:
        found = find_keys(connection, claims)
    return [found.get(claim.job_id) for claim in claims]


def _account_of(submission: Submission) -> UUID:
    return submission.account_id


@coalesced_by_account(account_of=_account_of, threads=2)
def accept(services: ApiServices, group: CallGroup[Submission]) -> Sequence[Accepted | ImagequeueError]:
    """Make submissions into durable jobs, all of them in one commit."""
    return services.submit(group.items, group.waits, group.lock_seconds)


@isolated(what="submits with large bodies or images", threads=UPLOAD_THREADS, patience=UPLOAD_PATIENCE)
def prepare_uploads(services: ApiServices, work: Callable[[], R]) -> R:
    """Do what decodes images and waits for the storage."""
    del services
    return work()


def _usual(asked: ClientRequest) -> AnswerKind:
    return "job" if asked.route.waits else "id"


def _submission(  # noqa: PLR0913, PLR0917  # of one caller, each of another type
    key: StoredKey,
    dialect: Dialect,
    headers: SubmissionHeaders,
    ask: ImageRequest,
    same: bytes,
    notes: str | None,
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
        notes=notes,
    )
