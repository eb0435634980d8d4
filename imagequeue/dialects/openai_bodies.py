"""The bodies of OpenAI's images, with AIML API's fields among them, and the request that each asks for.

Sources: the AIML document, "API Schema"; OpenAI's API reference, "Create image" and "Create image edit".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.dialects.fields import (
    EXAMPLE_IMAGE,
    READABLE,
    WHOLE,
    BodyFields,
    shown,
    validated,
    without_nulls,
)
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import ImageRequest, OutputFormat, Shape
from imagequeue.lifecycle.submit.uploads import Upload

MOST_INPUTS = 16
"""Input images of one edit, by the reference."""

AIML_FIELDS = frozenset(
    {"model", "prompt", "aspect_ratio", "temperature", "max_tokens", "max_completion_tokens"}
)
"""The fields of the AIML document."""
AIML_SHAPE = Shape(ratio=(1, 1))
"""AIML's default; OpenAI's is `auto`."""

_LARGEST_INTEGER = 2**31 - 1
_OPTIONS = (
    "quality",
    "background",
    "moderation",
    "input_fidelity",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
)
_REFUSED = {
    "frame_count": "only GIFs have frames, and no upstream makes them",
    "frame_duration_ms": "only GIFs have frames, and no upstream makes them",
    "svg": "no upstream makes SVG",
    "markup": "no upstream takes it; use mask",
}
_FILES = {"image", "image[]", "mask"}

Count = Annotated[int, WHOLE, Field(ge=1, le=_LARGEST_INTEGER)]
Uploads = tuple[tuple[Upload, ...], Upload | None]
"""Input images, and the mask."""


class OpenAIImageBody(BodyFields):
    """What generations and edits share."""

    model: str = ""
    prompt: Annotated[str, Field(min_length=1, max_length=32_000), READABLE]
    n: Annotated[int, WHOLE, Field(ge=1, le=10)] = 1
    size: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")] = "auto"
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    output_format: OutputFormat = "png"
    output_compression: Annotated[int, WHOLE, Field(ge=0, le=100)] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    stream: bool = False
    partial_images: Annotated[int, WHOLE, Field(ge=0, le=3)] | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    user: str | None = None
    safety_identifier: str | None = None


class OpenAIGenerateBody(OpenAIImageBody):
    """Text to image: OpenAI's fields, and AIML's."""

    model_config = shown(
        {"model": "MAI-Image-2.5", "prompt": "A lighthouse at dusk", "size": "1024x1024", "n": 1},
        {"model": "microsoft/mai-image-2.5", "prompt": "A lighthouse at dusk", "aspect_ratio": "16:9"},
    )

    style: Literal["vivid", "natural"] | None = None
    aspect_ratio: Literal["1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"] | None = None
    seed: Annotated[int, WHOLE] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None


class OpenAIEditForm(OpenAIImageBody):
    """Image to image as a form: the files are `image` or `image[]`, up to 16 of them, and `mask`."""

    model_config = shown(
        {"model": "MAI-Image-2.5", "prompt": "Make it blue"},
        files={
            "image": "An image; or several as `image[]`.",
            "image[]": "Up to 16 images.",
            "mask": "A PNG: where its alpha is 0 the image may change.",
        },
    )

    input_fidelity: Literal["low", "high"] | None = None


class OpenAIImageReference(BodyFields):
    """An input image of an edit in JSON: an http(s) or data URL. Files of OpenAI are not here."""

    image_url: str


class OpenAIEditBody(OpenAIEditForm):
    """Image to image as JSON."""

    model_config = shown(
        {"model": "MAI-Image-2.5", "prompt": "Make it blue", "images": [{"image_url": EXAMPLE_IMAGE}]}
    )

    images: Annotated[list[OpenAIImageReference], Field(min_length=1, max_length=MOST_INPUTS)]
    mask: OpenAIImageReference | None = None


def fields_of(body: SubmittedBody, *, edit: bool) -> OpenAIImageBody:
    """Read the fields of a body.

    Raises:
        InvalidRequest: names the field that is wrong, unknown, or of no use here.
    """
    for name, reason in _REFUSED.items():
        if body.fields.get(name) is not None or name in body.files:
            raise InvalidRequest(f"{name}: {reason}")
    kind = OpenAIGenerateBody if not edit else OpenAIEditForm if body.kind == "form" else OpenAIEditBody
    return validated(kind, without_nulls(kind, body))


def request_of(fields: OpenAIImageBody, model_id: str, unsaid: Shape) -> ImageRequest:
    """What the fields ask for, without its input images; `unsaid` is the shape where they say none.

    Raises:
        InvalidRequest: two fields contradict each other.
    """
    if fields.background == "transparent" and fields.output_format == "jpeg":
        raise InvalidRequest("background: transparent needs the output_format png or webp")
    return ImageRequest(
        model_id=model_id,
        prompt=fields.prompt,
        operation="edit" if isinstance(fields, OpenAIEditForm) else "generate",
        image_count=fields.n,
        shape=_shape(fields, unsaid),
        output_format=fields.output_format,
        options=fields.model_dump(include=set(_OPTIONS), exclude_none=True),
    )


def uploads_of(fields: OpenAIImageBody, body: SubmittedBody) -> Uploads:
    """The input images and the mask of an edit; none of a generation.

    Raises:
        InvalidRequest: there are none, too many, or other files.
    """
    if isinstance(fields, OpenAIEditBody):
        images = tuple(Upload("images", image.image_url) for image in fields.images)
        return images, Upload("mask", fields.mask.image_url) if fields.mask else None
    return _files_of(body) if isinstance(fields, OpenAIEditForm) else ((), None)


def _files_of(body: SubmittedBody) -> Uploads:
    if unknown := body.files.keys() - _FILES:
        raise InvalidRequest(f"Unknown field '{min(unknown)[:100]}'")
    images = [*body.files.get("image", ()), *body.files.get("image[]", ())]
    if not 1 <= len(images) <= MOST_INPUTS:
        raise InvalidRequest(f"image: give 1 to {MOST_INPUTS} files" if images else "image: Field required")
    masks = body.files.get("mask", ())
    if len(masks) > 1:
        raise InvalidRequest("mask: give one file")
    return tuple(Upload("image", image) for image in images), Upload("mask", masks[0]) if masks else None


def _shape(fields: OpenAIImageBody, unsaid: Shape) -> Shape:
    ratio = fields.aspect_ratio if isinstance(fields, OpenAIGenerateBody) else None
    if ratio and fields.size != "auto":
        raise InvalidRequest("aspect_ratio: give either size or aspect_ratio")
    if not ratio and "size" not in fields.model_fields_set:
        return unsaid
    return Shape.parse(ratio or fields.size)
