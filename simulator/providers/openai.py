"""OpenAI images: `/v1/images/generations` and the multipart `/v1/images/edits` of the GPT image models."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from starlette.datastructures import Headers

from simulator.config import UpstreamConfig
from simulator.content import Content
from simulator.images import Format, InputImage
from simulator.providers.inputs import read_upload
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
from simulator.wire import Answer, json_answer

MAX_INPUT_IMAGES = 16  # of an edit with a GPT image model

Size = Literal["auto", "1024x1024", "1024x1536", "1536x1024"]


class _Common(Fields):
    model: str
    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    n: Annotated[int, Field(ge=1, le=10)] = 1
    size: Size = "auto"
    quality: Literal["auto", "low", "medium", "high"] = "auto"
    background: Literal["auto", "transparent", "opaque"] = "auto"
    output_format: Format = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] = 100
    user: str | None = None


class _Generation(_Common):
    moderation: Literal["auto", "low"] = "auto"


class _Edit(_Common):
    input_fidelity: Literal["low", "high"] = "low"


class OpenAi(Provider):
    """Always base64. Streaming is not simulated: `stream` is refused as an unknown field."""

    table: ClassVar[Mapping[Reason, tuple[int, str]]] = {
        "unauthorized": (401, "invalid_api_key"),
        "unknown_route": (404, "not_found"),
        "unknown_model": (404, "model_not_found"),
        "unsupported": (400, "unsupported_operation"),
        "unreadable": (400, "invalid_request"),
        "too_large": (413, "request_too_large"),
        "invalid": (400, "invalid_value"),
        "policy": (400, "moderation_blocked"),
        "throttled": (429, "rate_limit_exceeded"),
    }

    def route(self, method: str, path: str) -> Route | None:
        match method, path:
            case "POST", "/v1/images/generations":
                return Route("generate")
            case "POST", "/v1/images/edits":
                return Route("edit", body="multipart")
            case _:
                return None

    def authorized(self, headers: Headers, upstream: UpstreamConfig) -> bool:
        return bearer(headers) in upstream.keys

    def read(self, route: Route, content: Content) -> Ask:
        """Generations as JSON; edits with one `image` or several `image[]`, and at most one `mask`."""
        if route.operation == "generate":
            return _ask(checked(_Generation, content.fields), None)
        fields = checked(_Edit, content.fields, strict=False)
        return _ask(fields, _first_image(content.files))

    def success(self, success: Success) -> Answer:
        """Base64 in `data`, and token counts."""
        body: dict[str, Any] = {"created": int(success.created), "output_format": success.ask.format}
        body["usage"] = {"input_tokens": 10, "output_tokens": 1000, "total_tokens": 1010}
        if success.images is not None:
            body["data"] = [{"b64_json": image} for image in success.images]
        return json_answer(200, body, {"x-request-id": success.reference})

    def status_name(self, status: int) -> str:
        """Like `bad_gateway`."""
        return phrase(status).lower().replace(" ", "_")

    def envelope(self, error: Failure) -> dict[str, Any]:
        return openai_envelope(error)


def _ask(fields: _Common, source: InputImage | None) -> Ask:
    size = (1024, 1024)
    if fields.size != "auto":
        width, _, height = fields.size.partition("x")
        size = int(width), int(height)
    return Ask(fields.prompt, fields.n, size, fields.output_format, source)


def _first_image(files: Mapping[str, list[bytes]]) -> InputImage:
    unknown = sorted(set(files) - {"image", "image[]", "mask"})
    if unknown:
        raise InvalidAskError(f"{unknown[0]}: unknown file field", unknown[0])
    images = [*files.get("image", ()), *files.get("image[]", ())]
    if not 1 <= len(images) <= MAX_INPUT_IMAGES:
        raise InvalidAskError(f"image: 1 to {MAX_INPUT_IMAGES} images are taken", "image")
    masks = files.get("mask", [])
    if len(masks) > 1:
        raise InvalidAskError("mask: at most one is taken", "mask")
    for mask in masks:
        read_upload(mask, "mask", ("png",))
    first, *_ = [read_upload(image, "image") for image in images]
    return first
