"""The headers that a submit may have in every dialect.

Source: docs/design/contract.md, "Headers of a submit".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.datastructures import Headers

from imagequeue.domain.errors import DestinationRefused, InvalidRequest
from imagequeue.domain.jobs import Lane
from imagequeue.egress import EgressPolicy, Purpose, check_destination, sole_webhook_url

LONGEST_WAIT = timedelta(days=366)
"""The latest deadline: a year is beyond every use, and every date up to it can be computed with."""

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)
_COUNT = re.compile(r"\d{1,4}", re.ASCII)
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_STORED = {"http-referer": "HTTP-Referer", "x-title": "X-Title"}
"""Headers that are stored with the request: they name the client's application."""

_LONGEST_STORED = 500
"""Characters of such a header that are stored."""


@dataclass(frozen=True, slots=True)
class SubmissionHeaders:
    """What the headers ask for; the fields are those of `Submission`. Deadlines are times with a zone."""

    lane: Lane
    start_by: datetime | None
    finish_by: datetime | None
    webhook_url: str | None
    idempotency_key: str | None
    retry_count: int | None
    client_headers: Mapping[str, str]


_NONE = SubmissionHeaders(Lane.INTERACTIVE, None, None, None, None, None, {})
_NAMES = frozenset(
    {"x-lane", "x-start-by", "x-finish-by", "x-webhook-url", "idempotency-key", "x-stainless-retry-count"}
    | _STORED.keys()
)


def read_submission_headers(headers: Headers, policy: EgressPolicy, now: datetime) -> SubmissionHeaders:
    """Read the headers. Deadlines in seconds are counted from `now`.

    Raises:
        InvalidRequest: names the header and what is wrong with it.
    """
    if _NAMES.isdisjoint(headers):  # as those of most submits
        return _NONE
    return SubmissionHeaders(
        lane=_lane(headers),
        start_by=_deadline(headers, "X-Start-By", now),
        finish_by=_deadline(headers, "X-Finish-By", now),
        webhook_url=_webhook_url(headers, policy),
        idempotency_key=_idempotency_key(headers),
        retry_count=_retry_count(headers),
        client_headers={
            name: headers[key][:_LONGEST_STORED] for key, name in _STORED.items() if headers.get(key)
        },
    )


def _lane(headers: Headers) -> Lane:
    text = _sole(headers, "X-Lane") or Lane.INTERACTIVE
    try:
        return Lane(text)
    except ValueError:
        raise InvalidRequest(f"X-Lane: unknown lane '{text[:100]}'; use {' or '.join(Lane)}") from None


def _deadline(headers: Headers, name: str, now: datetime) -> datetime | None:
    text = _sole(headers, name)
    if text is None:
        return None
    moment = _moment(text.strip(), now)
    if moment is None:
        raise InvalidRequest(f"{name}: use seconds from now, or a time such as 2026-03-31T10:00:00Z")
    if moment - now > LONGEST_WAIT:
        raise InvalidRequest(f"{name}: at most {LONGEST_WAIT.days} days from now")
    return moment


def _moment(text: str, now: datetime) -> datetime | None:
    if _SECONDS.fullmatch(text):
        return now + timedelta(seconds=float(text))
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _webhook_url(headers: Headers, policy: EgressPolicy) -> str | None:
    try:
        url = sole_webhook_url(headers.getlist("x-webhook-url"))
        return None if url is None else check_destination(url, policy, Purpose.WEBHOOK).url
    except DestinationRefused as error:
        raise DestinationRefused(f"X-Webhook-URL: {error.message}") from None


def _idempotency_key(headers: Headers) -> str | None:
    key = _sole(headers, "Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key: use 1 to 255 printable ASCII characters")
    return key


def _retry_count(headers: Headers) -> int | None:
    """How often the client's SDK has repeated this submit; None where the header is missing or unreadable."""
    text = headers.get("x-stainless-retry-count", "")
    return int(text) if _COUNT.fullmatch(text) else None


def _sole(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    if len(values) > 1:
        raise InvalidRequest(f"{name} was given more than once")
    return values[0] if values else None
