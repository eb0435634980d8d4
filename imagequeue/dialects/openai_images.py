"""Answers with images as OpenAI's API writes them, and the events of its streams.

No partial image is ever sent, because no upstream gives one: a stream has pings, then one event for each
image. How many tokens an upstream has used is not known here, so the counts in `usage` are zeros; they are
there because clients read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from imagequeue.dialects import openai_errors
from imagequeue.dialects.dialect import ClientRequest, Refusal, Rendered
from imagequeue.dialects.events import event
from imagequeue.dialects.fields import AnswerFields
from imagequeue.dialects.openai_errors import OpenAIErrorDetail
from imagequeue.dialects.synchronous import StreamedAnswers, base64_or_url, seconds_of
from imagequeue.domain.images import MEDIA_TYPES
from imagequeue.domain.job_view import JobView, OutputImage

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


class OpenAIAnswers(StreamedAnswers):
    """What OpenAI's dialect shares with Omixa's: how errors are told."""

    def refused(self, refusal: Refusal) -> Rendered:
        """`{"error": {"message", "type", "param", "code"}}`."""
        return openai_errors.refused(refusal)

    def failed(self, refusal: Refusal) -> Rendered:
        """The error, with the type and the code of one that a job ends with."""
        return openai_errors.failed(refusal)

    def failed_events(self, request: ClientRequest, job: JobView, refusal: Refusal) -> str:
        """The error, likewise."""
        del request, job
        return _error_event(openai_errors.failure_detail(refusal))

    def stream_refused(self, request: ClientRequest, refusal: Refusal) -> str:
        """The error."""
        del request
        return _error_event(openai_errors.detail_of(refusal))


def looks(job: JobView) -> dict[str, str]:
    """How the images are: what is known of size, format, quality and background."""
    sizes = {_size(image) for image in job.images}
    formats = {_FORMATS[image.media_type] for image in job.images if image.media_type in _FORMATS}
    given: dict[str, str] = {"quality": _option(job, "quality"), "background": _option(job, "background")}
    known = {name: value for name, value in given.items() if value != "auto"}
    if len(sizes) == 1:
        known["size"] = sizes.pop()
    if len(formats) == 1:
        known["output_format"] = formats.pop()
    return known


def completed_events(job: JobView, name: str, *, billed: bool = False) -> str:
    """The end of a COMPLETED job's stream: one event for each image. `billed`: each says what it cost."""
    cost = {"billed_amount": amount(job.price_usd / len(job.images))} if billed else {}
    shared = {
        "created_at": seconds_of(job),
        "quality": _option(job, "quality"),
        "background": _option(job, "background"),
        "usage": {**NO_USAGE, **cost},
    }
    return "".join(_event(name, image, shared) for image in job.images)


def _event(name: str, image: OutputImage, shared: Mapping[str, Any]) -> str:
    own = {"size": _size(image), "output_format": _FORMATS.get(image.media_type, "png")}
    return event({"type": name, **base64_or_url(image), **own, **shared}, name)


def _error_event(detail: OpenAIErrorDetail) -> str:
    return event({"type": "error", "error": detail.model_dump()}, "error")


def amount(usd: Decimal) -> str:
    """Omixa's form of an amount: six decimals, or more where it has more."""
    return max(f"{usd:.6f}", f"{usd:f}".rstrip("0"), key=len)


def _option(job: JobView, name: str) -> str:
    return job.request.options.get(name) or "auto"


def _size(image: OutputImage) -> str:
    return f"{image.width}x{image.height}"
