"""OpenRouter's dialect of images: up to ten from one prompt, whole or as server-sent events; and its models.

Source: OpenRouter's reference of `POST /api/v1/images`, and docs/design/protocols.md, "The OpenRouter
dialects". Of `aspect_ratio`, `resolution` and `size` a request has one at most.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field

from imagequeue.dialects.dialect import (
    ClientRequest,
    DialectRoute,
    Refusal,
    Rendered,
    StreamingDialect,
    SubmittedBody,
)
from imagequeue.dialects.events import DONE, event
from imagequeue.dialects.fields import (
    EXAMPLE_IMAGE,
    READABLE,
    WHOLE,
    AnswerFields,
    BodyFields,
    shown,
    validated,
)
from imagequeue.dialects.openrouter import (
    MOST_IMAGES,
    CallUsage,
    OpenRouterAnswers,
    OpenRouterError,
    Seed,
    usage_of,
)
from imagequeue.dialects.openrouter_models import ImageModelList, image_model
from imagequeue.dialects.resolutions import Ratio, Resolution, shape_of
from imagequeue.dialects.synchronous import answers, base64_or_url, seconds_of
from imagequeue.domain.catalog import Catalog, Model
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import ImageRequest, OutputFormat, Shape
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload

SIZE = r"^(512|1K|2K|4K|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"
"""A resolution, or width x height in pixels."""


class ReferenceUrl(BodyFields):
    """Where an input image is: an http(s) or data URL."""

    url: str


class InputReference(BodyFields):
    """An input image."""

    type: Literal["image_url"]
    image_url: ReferenceUrl


class ImagesBody(BodyFields):
    """A prompt for images; `seed` and `output_compression` have no effect."""

    model_config = shown(
        {"model": "microsoft/mai-image-2.5", "prompt": "A lighthouse at dusk", "n": 1},
        {
            "model": "microsoft/mai-image-2.5",
            "prompt": "Make it blue",
            "input_references": [{"type": "image_url", "image_url": {"url": EXAMPLE_IMAGE}}],
        },
    )

    model: str
    prompt: Annotated[str, Field(min_length=1), READABLE]
    n: Annotated[int, WHOLE, Field(ge=1, le=10)] | None = None
    aspect_ratio: Ratio | None = None
    resolution: Resolution | None = None
    size: Annotated[str, Field(pattern=SIZE)] | None = None
    quality: Literal["auto", "low", "medium", "high"] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    output_format: OutputFormat | None = None
    output_compression: Annotated[int, WHOLE, Field(ge=0, le=100)] | None = None
    input_references: Annotated[list[InputReference], Field(max_length=MOST_IMAGES)] | None = None
    seed: Seed | None = None
    stream: bool | None = None


class OpenRouterImage(AnswerFields):
    """An image: base64, or a link where a limit forbids that."""

    b64_json: str | None = None
    url: str | None = None
    media_type: str


class OpenRouterImages(AnswerFields):
    """The answer with the images; `created` is in seconds since 1970."""

    created: int
    data: list[OpenRouterImage]
    usage: CallUsage


IMAGES = DialectRoute(
    method="POST",
    path="/api/v1/images",
    verb="submit",
    summary="Generate or edit images",
    description="Waits for the images; with `stream: true` as server-sent events.",
    bodies={"json": (ImagesBody,)},
    responses=answers(OpenRouterImages, OpenRouterError),
    waits=True,
)
MODELS = DialectRoute(
    method="GET",
    path="/api/v1/images/models",
    verb="models",
    summary="List the models that make images",
    description="The models of the catalog with what a request may say, and what an image costs.",
    responses={200: ImageModelList},
)


class OpenRouterImagesDialect(OpenRouterAnswers):
    """Several images in one answer."""

    name = "openrouter_images"
    title = "OpenRouter images"
    prefixes = ("/api/v1/images",)
    routes = (IMAGES, MODELS)

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read a request for images."""
        del request
        fields = validated(ImagesBody, body)
        references = fields.input_references or []
        ask = ImageRequest(
            model_id=catalog.model(fields.model).id,
            prompt=fields.prompt,
            operation="edit" if references else "generate",
            image_count=fields.n or 1,
            shape=_shape(fields),
            output_format=fields.output_format or "png",
            options=fields.model_dump(include={"quality", "background"}, exclude_none=True),
        )
        uploads = tuple(
            Upload(f"input_references.{number}", one.image_url.url) for number, one in enumerate(references)
        )
        return RequestWithUploads(ask, uploads, answer="stream" if fields.stream else None)

    def completed(self, request: ClientRequest, job: JobView) -> Mapping[str, Any]:
        """`data[].b64_json`, and the usage of all images."""
        del request
        data = [_entry(image) for image in job.images]
        return {"created": seconds_of(job), "data": data, "usage": usage_of(job)}

    def models(self, request: ClientRequest, models: Sequence[Model]) -> Rendered:
        """The models with what a request may say, and their prices."""
        del request
        return Rendered(200, json.dumps({"data": [image_model(model) for model in models]}))

    def completed_events(self, request: ClientRequest, job: JobView) -> str:
        """One event for each image, the last one with the usage of all."""
        del request
        events = [
            {"type": "image_generation.completed", "created": seconds_of(job)} | _entry(image)
            for image in job.images
        ]
        events[-1]["usage"] = usage_of(job)
        return "".join(event(one) for one in events) + DONE

    def stream_refused(self, request: ClientRequest, refusal: Refusal) -> str:
        """The event of an error; its code is text here."""
        del request
        error = {"message": refusal.message, "code": str(refusal.status)}
        return event({"type": "error", "error": error}) + DONE


DIALECT: StreamingDialect = OpenRouterImagesDialect()


def _shape(fields: ImagesBody) -> Shape:
    given = {name for name in ("aspect_ratio", "resolution", "size") if getattr(fields, name) is not None}
    if len(given) > 1:
        raise InvalidRequest(f"{', '.join(sorted(given))}: give one of them")
    if fields.size is None:
        return shape_of(fields.aspect_ratio, fields.resolution)
    if fields.size in get_args(Resolution):
        return shape_of(None, cast("Resolution", fields.size))
    return Shape.parse(fields.size)


def _entry(image: OutputImage) -> dict[str, Any]:
    return base64_or_url(image) | {"media_type": image.media_type}
