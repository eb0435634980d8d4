"""What OpenRouter's dialects have in common: errors, usage, and the fields of a conversation with a model.

Source: the OpenRouter document, "Parameters", and docs/design/protocols.md, "The OpenRouter dialects". A
conversation is one prompt, the texts of its messages in their order; the images in it are input images.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from imagequeue.dialects.dialect import Refusal, Rendered
from imagequeue.dialects.fields import WHOLE, AnswerFields, BodyFields, require_readable
from imagequeue.dialects.resolutions import Ratio, Resolution, shape_of
from imagequeue.dialects.synchronous import StreamedAnswers
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.job_view import JobView
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload

MOST_IMAGES = 16
"""Input images of a request: the most that an upstream takes."""
MOST_MESSAGES = 200
"""Messages of a conversation, and parts of a message: longer ones are no prompts for an image."""

_OPTIONS = {"temperature", "max_tokens", "max_completion_tokens"}

Temperature = Annotated[float, Field(ge=0, le=2)]
Tokens = Annotated[int, WHOLE, Field(ge=1, le=10_000_000)]
Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Seed = Annotated[int, WHOLE, Field(ge=-(2**63), lt=2**63)]


class OpenRouterErrorBody(AnswerFields):
    """What went wrong; `code` is the HTTP status."""

    code: int
    message: str


class OpenRouterError(AnswerFields):
    """Every error."""

    error: OpenRouterErrorBody


class ImageConfig(BodyFields):
    """How the image shall look."""

    aspect_ratio: Ratio | None = None
    image_size: Resolution | None = None


class CallFields(BodyFields):
    """The fields of a model's call; those after `stream` have no effect on an image."""

    model: str
    modalities: Annotated[list[Literal["image", "text"]], Field(min_length=1, max_length=2)] | None = None
    image_config: ImageConfig | None = None
    temperature: Temperature | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    stream: bool | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, WHOLE, Field(ge=0, le=1_000_000)] | None = None
    seed: Seed | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """The texts and the input images of all messages, in their order; `field` is that of the messages."""

    field: str
    texts: tuple[str, ...]
    images: tuple[Upload, ...]

    @classmethod
    def of(cls, field: str, parts: Iterable[str | Upload]) -> Conversation:
        """The conversation that consists of these parts."""
        given = list(parts)
        texts = tuple(part for part in given if isinstance(part, str))
        return cls(field, texts, tuple(part for part in given if isinstance(part, Upload)))

    def prompt(self) -> str:
        """All texts as one.

        Raises:
            InvalidRequest: there is none, or one that cannot be stored.
        """
        return require_readable("\n\n".join(text for text in self.texts if text.strip()), self.field)


def read_call(fields: CallFields, conversation: Conversation, catalog: Catalog) -> RequestWithUploads:
    """The request for one image that a conversation with a model is.

    Raises:
        UnknownModel: the catalog does not have the model.
        InvalidRequest: no image is asked for, the conversation has no text, or too many images.
    """
    if fields.modalities is not None and "image" not in fields.modalities:
        raise InvalidRequest('modalities: must have "image", because models here answer with images alone')
    if len(conversation.images) > MOST_IMAGES:
        raise InvalidRequest(f"{conversation.field}: at most {MOST_IMAGES} images are taken")
    config = fields.image_config or ImageConfig()
    ask = ImageRequest(
        model_id=catalog.model(fields.model).id,
        prompt=conversation.prompt(),
        operation="edit" if conversation.images else "generate",
        shape=shape_of(config.aspect_ratio, config.image_size),
        options=fields.model_dump(include=_OPTIONS, exclude_none=True),
    )
    return RequestWithUploads(
        ask, conversation.images, notes={"model": fields.model}, answer="stream" if fields.stream else None
    )


class OpenRouterAnswers(StreamedAnswers):
    """The errors of OpenRouter."""

    def refused(self, refusal: Refusal) -> Rendered:
        """`{"error": {"code", "message"}}`, the code is the status."""
        return Rendered(refusal.status, json.dumps(error_of(refusal), ensure_ascii=False))


def error_of(refusal: Refusal) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"code": refusal.status, "message": refusal.message}}


def model_of(job: JobView) -> str:
    """The model as the client wrote it; a job of another dialect has its id alone."""
    return str(job.notes.get("model", job.request.model_id))


def cost_usd(job: JobView) -> float:
    """What the caller was charged, as a number, because the document has one."""
    return float(job.price_usd)


class CallUsage(AnswerFields):
    """Tokens, which nobody knows here, and `cost`: what the caller was charged, in USD."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: float


def usage_of(job: JobView) -> dict[str, Any]:
    """The usage of a COMPLETED job; clients that add tokens up need numbers."""
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": cost_usd(job)}
