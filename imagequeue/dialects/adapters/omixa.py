"""Omixa: `POST /api/v1/images/generations`, which edits where it is given input images.

Source: the Omixa document, "Request fields" and "Response shape". A stream is OpenAI's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from imagequeue.dialects import openai_images
from imagequeue.dialects.dialect import (
    ClientRequest,
    Dialect,
    DialectRoute,
    SubmittedBody,
)
from imagequeue.dialects.fields import (
    EXAMPLE_IMAGE,
    READABLE,
    WHOLE,
    AnswerFields,
    BodyFields,
    shown,
    validated,
    without_nulls,
)
from imagequeue.dialects.openai_errors import OpenAIError
from imagequeue.dialects.openai_images import OpenAIAnswers
from imagequeue.dialects.synchronous import answers, seconds_of
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import ImageRequest, OutputFormat, Shape
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload

MOST_INPUTS = 16
"""Input images of one edit. The document has no limit; more than this no upstream takes."""

_OPTIONS = ("quality", "background", "moderation", "input_fidelity")


class OmixaUrl(BodyFields):
    """An image in the text of a data URL: nothing is fetched, as the document says."""

    url: Annotated[str, Field(pattern=r"^\s*[dD][aA][tT][aA]:")]


class OmixaImage(BodyFields):
    """An image as a part of a message."""

    type: Literal["image_url"]
    image_url: OmixaUrl


def _as_part(mask: object) -> object:
    """The document says "image data": a data URL as text is taken, and a part as `input_images` has them."""
    return {"type": "image_url", "image_url": {"url": mask}} if isinstance(mask, str) else mask


class OmixaBody(BodyFields):
    """The fields of the document, and `stream`, which it has in words."""

    model_config = shown(
        {"model": "MAI-Image-2.5", "prompt": "A lighthouse at dusk", "size": "1024x1024", "n": 1},
        {
            "model": "MAI-Image-2.5",
            "prompt": "Make it blue",
            "input_images": [{"type": "image_url", "image_url": {"url": EXAMPLE_IMAGE}}],
        },
    )

    model: str
    prompt: Annotated[str, Field(min_length=1, max_length=32_000), READABLE]
    n: Annotated[int, WHOLE, Field(ge=1, le=10)] = 1
    output_format: OutputFormat = "png"
    size: Literal["auto", "1024x1024", "1024x1536", "1536x1024"] = "auto"
    quality: Literal["auto", "low", "medium", "high"] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    input_images: Annotated[list[OmixaImage], Field(max_length=MOST_INPUTS)] = Field(
        default_factory=list[OmixaImage]
    )
    input_fidelity: Literal["auto", "low", "high"] | None = None
    mask: Annotated[OmixaImage, BeforeValidator(_as_part, json_schema_input_type=OmixaImage | str)] | None = (
        None
    )
    stream: bool = False


class OmixaEntry(AnswerFields):
    """An image; the other of the two is null."""

    b64_json: str | None
    url: str | None


class OmixaUsage(AnswerFields):
    """What the caller was charged, in USD."""

    billed_amount: str


class OmixaAnswer(AnswerFields):
    """The images; `created` in seconds since 1970."""

    created: int
    data: list[OmixaEntry]
    usage: OmixaUsage


SUBMIT = DialectRoute(
    method="POST",
    path="/api/v1/images/generations",
    verb="submit",
    summary="Generate images, or edit input_images",
    description="Waits for the images, or streams them. docs/dialects.md says what each field does.",
    bodies={"json": (OmixaBody,)},
    responses=answers(OmixaAnswer, OpenAIError),
    waits=True,
)


class OmixaDialect(OpenAIAnswers):
    """Requests wait for their images."""

    name = "omixa"
    title = "Omixa"
    prefixes = ("/api/v1/images/generations",)
    routes = (SUBMIT,)

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read a generation, or with input images an edit."""
        del request
        fields = validated(OmixaBody, without_nulls(OmixaBody, body))
        if fields.mask and not fields.input_images:
            raise InvalidRequest("mask: give input_images, too")
        ask = ImageRequest(
            model_id=catalog.model(fields.model).id,
            prompt=fields.prompt,
            operation="edit" if fields.input_images else "generate",
            image_count=fields.n,
            shape=Shape.parse(fields.size),
            output_format=fields.output_format,
            options=fields.model_dump(include=set(_OPTIONS), exclude_none=True),
        )
        images = tuple(Upload("input_images", image.image_url.url) for image in fields.input_images)
        mask = Upload("mask", fields.mask.image_url.url) if fields.mask else None
        return RequestWithUploads(ask, images, mask, answer="stream" if fields.stream else None)

    def completed(self, request: ClientRequest, job: JobView) -> dict[str, object]:
        """The images, and what they cost."""
        del request
        return {
            "created": seconds_of(job),
            "data": [_entry(image) for image in job.images],
            "usage": {"billed_amount": openai_images.amount(job.price_usd)},
        }

    def completed_events(self, request: ClientRequest, job: JobView) -> str:
        """One event for each image."""
        del request
        return openai_images.completed_events(job, "image_generation.completed", billed=True)


DIALECT: Dialect = OmixaDialect()


def _entry(image: OutputImage) -> dict[str, str | None]:
    return {"b64_json": image.base64, "url": None if image.base64 else image.url}
