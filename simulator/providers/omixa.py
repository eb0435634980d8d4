"""Omixa: `/api/v1/images/generations`, up to ten images a call, edits by data URLs in the same route."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from starlette.datastructures import Headers

from simulator.config import UpstreamConfig
from simulator.content import Content
from simulator.images import Format, InputImage
from simulator.providers.inputs import read_data_url
from simulator.providers.provider import (
    Ask,
    Failure,
    Fields,
    InvalidAskError,
    Provider,
    Reason,
    Route,
    Success,
    bearer,
    checked,
    openai_envelope,
    phrase,
)
from simulator.shapes import scaled
from simulator.wire import Answer, json_answer

Size = Literal["auto", "1024x1024", "1024x1536", "1536x1024"]


class _Url(Fields):
    url: str


class _ImagePart(Fields):
    type: Literal["image_url"]
    image_url: _Url


class _Generation(Fields):
    model: str
    prompt: Annotated[str, Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=10)] = 1
    output_format: Format = "png"
    size: Size = "auto"
    quality: Literal["auto", "low", "medium", "high"] = "auto"
    background: Literal["auto", "transparent", "opaque"] = "auto"
    moderation: Literal["auto", "low"] = "auto"
    input_images: list[_ImagePart] = Field(default_factory=list[_ImagePart])
    input_fidelity: Literal["auto", "low", "high"] = "auto"
    mask: str | _ImagePart | None = None


class Omixa(Provider):
    """Base64 images, `usage.billed_amount` as text. Remote image URLs are never fetched."""

    table: ClassVar[Mapping[Reason, tuple[int, str]]] = {
        "unauthorized": (401, "invalid_api_key"),
        "unknown_route": (404, "not_found"),
        "unknown_model": (404, "model_not_found"),
        "unsupported": (400, "unsupported_operation"),
        "unreadable": (400, "invalid_request"),
        "too_large": (413, "request_too_large"),
        "invalid": (400, "invalid_request"),
        "policy": (400, "content_policy_violation"),
        "throttled": (429, "rate_limit_exceeded"),
    }

    def route(self, method: str, path: str) -> Route | None:
        """One route; whether it edits is said by the body."""
        return Route("generate") if (method, path) == ("POST", "/api/v1/images/generations") else None

    def operation(self, route: Route, content: Content) -> Route:
        """With input images it is an edit."""
        return Route("edit") if content.fields.get("input_images") else route

    def authorized(self, headers: Headers, upstream: UpstreamConfig) -> bool:
        return bearer(headers) in upstream.keys

    def read(self, route: Route, content: Content) -> Ask:  # noqa: ARG002  # there is one route
        """Sizes and formats from short lists, images and mask as data URLs."""
        fields = checked(_Generation, content.fields)
        sources = [
            read_data_url(part.image_url.url, f"input_images.{number}")
            for number, part in enumerate(fields.input_images)
        ]
        source = sources[0] if sources else None
        _check_mask(fields.mask, source)
        size = _size(fields.size, source)
        return Ask(fields.prompt, fields.n, size, fields.output_format, source)

    def success(self, success: Success) -> Answer:
        """Base64 in `data`, with `url` null."""
        images = success.images
        billed = success.config.cost_usd * len(images or ())
        body: dict[str, Any] = {"created": int(success.created), "usage": {"billed_amount": f"{billed:.6f}"}}
        if images is not None:
            body["data"] = [{"b64_json": image, "url": None} for image in images]
        return json_answer(200, body, {"x-request-id": success.reference})

    def status_name(self, status: int) -> str:
        """Like `bad_gateway`."""
        return phrase(status).lower().replace(" ", "_")

    def envelope(self, error: Failure) -> dict[str, Any]:
        return openai_envelope(error)


def _check_mask(mask: str | _ImagePart | None, source: InputImage | None) -> None:
    if mask is None:
        return
    if source is None:
        raise InvalidAskError("mask: only taken together with input_images", "mask")
    read_data_url(mask if isinstance(mask, str) else mask.image_url.url, "mask")


def _size(size: Size, source: InputImage | None) -> tuple[int, int]:
    if size == "auto":
        return scaled(source.size) if source else (1024, 1024)
    width, _, height = size.partition("x")
    return int(width), int(height)
