"""Microsoft Foundry: `/mai/v1/images/generations` and the multipart `/mai/v1/images/edits`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from starlette.datastructures import Headers

from simulator.config import UpstreamConfig
from simulator.content import Content
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
)
from simulator.shapes import MEGAPIXEL, scaled
from simulator.wire import Answer, json_answer

MIN_SIDE = 768  # pixels
# The document limits the prompt to 32,000 tokens. The tokenizer is not here, so four characters count as one.
MAX_PROMPT_CHARACTERS = 4 * 32_000

Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
Side = Annotated[int, Field(ge=MIN_SIDE)]


class _Generation(Fields):
    model: str
    prompt: Prompt
    width: Side = 1024
    height: Side = 1024


class _Edit(Fields):
    model: str
    prompt: Prompt


class Foundry(Provider):
    """Always PNG, always one image a call; at least 768 a side, at most 1,048,576 pixels."""

    table: ClassVar[Mapping[Reason, tuple[int, str]]] = {
        "unauthorized": (401, "401"),
        "unknown_route": (404, "404"),
        "unknown_model": (404, "DeploymentNotFound"),
        "unsupported": (400, "OperationNotSupported"),
        "unreadable": (400, "BadRequest"),
        "too_large": (413, "RequestEntityTooLarge"),
        "invalid": (400, "BadRequest"),
        "policy": (400, "content_policy_violation"),
        "throttled": (429, "429"),
    }

    def route(self, method: str, path: str) -> Route | None:
        match method, path:
            case "POST", "/mai/v1/images/generations":
                return Route("generate")
            case "POST", "/mai/v1/images/edits":
                return Route("edit", body="multipart")
            case _:
                return None

    def authorized(self, headers: Headers, upstream: UpstreamConfig) -> bool:
        """An api-key, or an Entra ID token as bearer."""
        key = headers.get("api-key")
        return key in upstream.keys if key is not None else bearer(headers) in upstream.entra_tokens

    def read(self, route: Route, content: Content) -> Ask:
        """A generation has a size; an edit has one image and takes its proportions from it."""
        if route.operation == "edit":
            return _read_edit(content)
        fields = checked(_Generation, content.fields)
        if fields.width * fields.height > MEGAPIXEL:
            raise InvalidAskError(
                f"width × height must not exceed {MEGAPIXEL}, got {fields.width * fields.height}", "width"
            )
        return Ask(fields.prompt, 1, (fields.width, fields.height))

    def success(self, success: Success) -> Answer:
        """Base64 in `data`."""
        body: dict[str, Any] = {"created": int(success.created)}
        if success.images is not None:
            body["data"] = [{"b64_json": image} for image in success.images]
        return json_answer(200, body, {"apim-request-id": success.reference})

    def envelope(self, error: Failure) -> dict[str, Any]:
        """`{"error": {"code", "message"}}`; the content filter adds what it found."""
        body: dict[str, Any] = {"code": error.code, "message": error.refusal.message}
        if error.refusal.reason == "policy":
            found = {"filtered": True, "severity": "high"}
            body["inner_error"] = {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_results": {"violence": found},
            }
        return {"error": body}


def _read_edit(content: Content) -> Ask:
    fields = checked(_Edit, content.fields, strict=False)
    if set(content.files) != {"image"}:
        wrong = sorted(set(content.files) - {"image"})
        raise InvalidAskError(f"{wrong[0]}: unknown file field" if wrong else "image: missing", "image")
    if len(content.files["image"]) != 1:
        raise InvalidAskError("image: exactly one image is taken", "image")
    source = read_upload(content.files["image"][0], "image", ("png", "jpeg"))
    return Ask(fields.prompt, 1, scaled(source.size), source=source)
