"""What a dialect is: a way for clients to say an ImageRequest, and to be answered.

A dialect reads its own body into an `ImageRequest`, and has its own envelope for errors. Everything between
is the same for all and lives here: key, allowance, size, headers, the submit itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.auth import authenticate, spend_allowance
from api.body import json_content
from api.errors import Envelope
from api.request_id_header import tag_request
from api.services import services_of
from api.submission_headers import SubmissionHeaders, read_submission_headers
from api.submit import accept, prepare_uploads
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import ImageRequest
from imagequeue.lifecycle.submit.submission import Accepted, Submission, fingerprint
from imagequeue.lifecycle.submit.uploads import RequestWithUploads
from imagequeue.store.money.accounts import StoredKey

_LONGEST_NAME = 100


class Body(BaseModel):
    """A dialect's body: types are strict (true is no integer), unknown fields are refused by name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How clients of one document speak."""

    name: str
    envelope: Envelope


def validated(kind: type[B], body: dict[str, Any]) -> B:
    """Read a body's fields.

    Raises:
        InvalidRequest: names the field and what is wrong with it, without repeating its value.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:_LONGEST_NAME]
    if first["type"] == "extra_forbidden":
        raise InvalidRequest(f"Unknown field '{field}'")
    raise InvalidRequest(f"{field}: {first['msg'].removeprefix('Value error, ')}")


async def take_submission(
    request: Request, dialect: Dialect, read: Callable[[dict[str, Any]], RequestWithUploads]
) -> Accepted:
    """Serve a submit from its key to a durable job; `read` turns the parsed body into the ask.

    Raises:
        ImagequeueError: the submit was refused; nothing was stored or charged.
    """
    request.state.envelope = dialect.envelope
    services = services_of(request)
    key = await authenticate(request)
    await spend_allowance(services, key)
    accepted = await accept(services, await _read(request, dialect, key, read))
    tag_request(request, accepted.request_id)
    return accepted


async def _read(
    request: Request, dialect: Dialect, key: StoredKey, read: Callable[[dict[str, Any]], RequestWithUploads]
) -> Submission:
    """Read what is asked for. A large body is on disk, and in memory only while it is parsed and decoded."""
    services = services_of(request)
    headers = read_submission_headers(request.headers, services.runtime.policy, datetime.now(UTC))

    def made(body: dict[str, Any], ask: RequestWithUploads) -> Submission:
        kept = ask.keep(services.runtime)
        return _submission(key, dialect, headers, kept, fingerprint_of(key, request, body))

    def parsed_and_made() -> Submission:
        body = content.json()
        return made(body, read(body))

    async with json_content(request, services.runtime.settings.max_body_bytes) as content:
        if content.is_large:
            return await prepare_uploads(services, parsed_and_made)
        body = content.json()
    ask = read(body)
    if ask.has_uploads:
        return await prepare_uploads(services, lambda: made(body, ask))
    return made(body, ask)


def fingerprint_of(key: StoredKey, request: Request, body: dict[str, Any]) -> bytes:
    """What a repeat of this submit would share with it."""
    return fingerprint(key.account_id, request.url.path, body)


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
