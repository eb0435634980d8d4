"""AIML API: `/v1/images/generations`, one image a call, answered with a URL."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from starlette.datastructures import Headers

from simulator.config import UpstreamConfig
from simulator.content import Content
from simulator.providers.provider import (
    Ask,
    Failure,
    Fields,
    Provider,
    Reason,
    Route,
    Success,
    bearer,
    checked,
    openai_envelope,
    phrase,
)
from simulator.shapes import ratio_size
from simulator.wire import Answer, json_answer

CREDITS_PER_USD = 2_000_000  # as in the example of the document

NO_LIMIT = 1_000_000_000  # the default of a field that has no documented limit

PositiveInt = Annotated[int, Field(ge=1)]


class _Generation(Fields):
    model: str
    prompt: Annotated[str, Field(min_length=1, max_length=4000)]
    aspect_ratio: Literal["1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"] = "1:1"
    max_tokens: PositiveInt = NO_LIMIT
    temperature: Annotated[float, Field(ge=0, le=2)] = 1
    max_completion_tokens: PositiveInt = NO_LIMIT


class Aiml(Provider):
    """Generations only. Errors as OpenAI; `meta.usage` says what was spent."""

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
        return Route("generate") if (method, path) == ("POST", "/v1/images/generations") else None

    def authorized(self, headers: Headers, upstream: UpstreamConfig) -> bool:
        return bearer(headers) in upstream.keys

    def read(self, route: Route, content: Content) -> Ask:  # noqa: ARG002  # there is one route
        """Seven ratios; explicit nulls are not in the schema."""
        fields = checked(_Generation, content.fields)
        return Ask(fields.prompt, 1, ratio_size(fields.aspect_ratio))

    def inline(self, ask: Ask) -> bool:  # noqa: ARG002  # never
        return False

    def success(self, success: Success) -> Answer:
        """URLs in `data`, which the schema lets be null; `created` in milliseconds."""
        images = success.images
        spent = success.config.cost_usd * len(images or ())
        body: dict[str, Any] = {
            "created": int(success.created * 1000),
            "data": None if images is None else [{"url": url} for url in images],
            "meta": {"usage": {"credits_used": int(spent * CREDITS_PER_USD), "usd_spent": float(spent)}},
        }
        return json_answer(200, body, {"x-request-id": success.reference})

    def status_name(self, status: int) -> str:
        """Like `bad_gateway`."""
        return phrase(status).lower().replace(" ", "_")

    def envelope(self, error: Failure) -> dict[str, Any]:
        return openai_envelope(error)
