"""Answers with images as OpenAI's API writes them, and the events of its streams.

No partial image is ever sent, because no upstream gives one: a stream has pings, then one event for each
image. How many tokens an upstream has used is not known here, so the counts in `usage` are zeros; they are
there because clients read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from imagequeue.dialects.dialect import ClientRequest, Rendered
from imagequeue.dialects.fields import AnswerFields
from imagequeue.dialects.openai_errors import error_event, failure, failure_detail
from imagequeue.domain.images import MEDIA_TYPES
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.domain.jobs import JobStatus

_FORMATS = {media_type: name for name, media_type in MEDIA_TYPES.items()}


class TokenDetails(AnswerFields):
    """Tokens by what they stand for."""

    image_tokens: int
    text_tokens: int


class TokenUsage(AnswerFields):
    """Tokens that were used."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_tokens_details: TokenDetails
    output_tokens_details: TokenDetails


_NO_DETAILS = TokenDetails(image_tokens=0, text_tokens=0)
NO_USAGE: Mapping[str, Any] = TokenUsage(
    total_tokens=0,
    input_tokens=0,
    output_tokens=0,
    input_tokens_details=_NO_DETAILS,
    output_tokens_details=_NO_DETAILS,
).model_dump()
"""Where nothing is known."""


class QueuedImages(AnswerFields):
    """The 202 to a request that does not wait."""

    request_id: str
    status: str
    polling_url: str


def queued(request: ClientRequest, request_id: str, status: JobStatus = JobStatus.QUEUED) -> Rendered:
    """The answer that names a job which is not final, and where to ask about it."""
    body = {
        "request_id": request_id,
        "status": status.value,
        "polling_url": f"{request.origin}/v2/requests/status/{request_id}",
    }
    return Rendered(202, json.dumps(body))


def unfinished(request: ClientRequest, job: JobView) -> Rendered | None:
    """The answer about a job without images; None: it has them."""
    if job.status is JobStatus.COMPLETED:
        return None
    return failure(job) if job.status.is_final else queued(request, job.request_id, job.status)


def images_of(job: JobView) -> tuple[OutputImage, ...]:
    """The images of an answer: never more than were asked for."""
    return job.images[: job.request.image_count]


def completed_at(job: JobView) -> int:
    """Seconds since 1970 at which the images were there."""
    return int((job.completed_at or job.updated_at).timestamp())


def looks(job: JobView) -> dict[str, str]:
    """How the images are: what is known of size, format, quality and background."""
    images = images_of(job)
    sizes = {_size(image) for image in images}
    formats = {_FORMATS[image.media_type] for image in images if image.media_type in _FORMATS}
    given: dict[str, str] = {"quality": _option(job, "quality"), "background": _option(job, "background")}
    known = {name: value for name, value in given.items() if value != "auto"}
    if len(sizes) == 1:
        known["size"] = sizes.pop()
    if len(formats) == 1:
        known["output_format"] = formats.pop()
    return known


def completed_events(job: JobView, event: str, *, billed: bool = False) -> str:
    """The end of a stream: one event for each image, or the error. `billed`: each says what it cost."""
    if job.status is not JobStatus.COMPLETED:
        return error_event(failure_detail(job))
    images = images_of(job)
    cost = {"billed_amount": amount(job.price_usd / len(images))} if billed and images else {}
    shared = {
        "created_at": completed_at(job),
        "quality": _option(job, "quality"),
        "background": _option(job, "background"),
        "usage": {**NO_USAGE, **cost},
    }
    return "".join(_event(event, image, shared) for image in images)


def _event(event: str, image: OutputImage, shared: dict[str, Any]) -> str:
    held = {"url": image.url} if image.base64 is None else {"b64_json": image.base64}
    own = {"size": _size(image), "output_format": _FORMATS.get(image.media_type, "png")}
    return f"event: {event}\ndata: {json.dumps({'type': event, **held, **own, **shared})}\n\n"


def amount(usd: Decimal) -> str:
    """Omixa's form of an amount: six decimals, or more where it has more."""
    return max(f"{usd:.6f}", f"{usd:f}".rstrip("0"), key=len)


def _option(job: JobView, name: str) -> str:
    return job.request.options.get(name) or "auto"


def _size(image: OutputImage) -> str:
    return f"{image.width}x{image.height}"
