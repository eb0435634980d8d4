"""OpenRouter's dialect of responses, in the format of OpenAI's Responses API, whole or as server-sent events.

Source: the OpenRouter document, "Endpoint", and docs/design/protocols.md, "The OpenRouter dialects". The
answer has an `image_generation_call` that holds base64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from imagequeue.dialects.dialect import (
    ClientRequest,
    DialectRoute,
    Refusal,
    StreamingDialect,
    SubmittedBody,
)
from imagequeue.dialects.events import DONE, event
from imagequeue.dialects.fields import AnswerFields, BodyFields, require_readable, shown, validated
from imagequeue.dialects.openrouter import (
    CallFields,
    Conversation,
    OpenRouterAnswers,
    OpenRouterError,
    Tokens,
    cost_usd,
    model_of,
    read_call,
)
from imagequeue.dialects.openrouter_input import FIELD, Items, parts_of
from imagequeue.dialects.synchronous import answers, seconds_of
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.job_view import JobView
from imagequeue.domain.policy_words import is_policy
from imagequeue.lifecycle.submit.uploads import RequestWithUploads


class ImageTool(BodyFields):
    """The only tool: every answer is an image."""

    type: Literal["image_generation"]


class ResponsesBody(CallFields):
    """A response that asks for an image; `store` has no effect."""

    model_config = shown({"model": "microsoft/mai-image-2.5", "input": "A lighthouse at dusk"})

    input: Items
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    tools: Annotated[list[ImageTool], Field(max_length=1)] | None = None
    store: bool | None = None


class ImageCall(AnswerFields):
    """An image: base64, or a link where a limit forbids that."""

    type: Literal["image_generation_call"]
    id: str
    status: str
    result: str


class ResponsesUsage(AnswerFields):
    """Tokens, which nobody knows here, and `cost`: what the caller was charged, in USD."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost: float


class ResponseAnswer(AnswerFields):
    """The answer with the image; `id` is that of the job, times are in seconds since 1970."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    model: str
    status: str
    output: list[ImageCall]
    usage: ResponsesUsage | None


RESPONSES = DialectRoute(
    method="POST",
    path="/api/v1/responses",
    verb="submit",
    summary="Response with an image",
    description="Waits for the image; with `stream: true` as server-sent events.",
    bodies={"json": (ResponsesBody,)},
    responses=answers(ResponseAnswer, OpenRouterError),
    waits=True,
)


class OpenRouterResponsesDialect(OpenRouterAnswers):
    """A response whose output is one image."""

    name = "openrouter_responses"
    title = "OpenRouter responses"
    prefixes = ("/api/v1/responses",)
    routes = (RESPONSES,)

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read the instructions and the input as one prompt with input images."""
        del request
        fields = validated(ResponsesBody, body)
        given = fields.instructions or ""
        said = [require_readable(given, "instructions")] if given else []
        conversation = Conversation.of(FIELD, [*said, *parts_of(fields.input)])
        limit = fields.max_tokens if fields.max_tokens is not None else fields.max_output_tokens
        return read_call(fields.model_copy(update={"max_tokens": limit}), conversation, catalog)

    def completed(self, request: ClientRequest, job: JobView) -> Mapping[str, Any]:
        """A response whose output has the images."""
        del request
        return _response(job, "completed", _calls(job))

    def completed_events(self, request: ClientRequest, job: JobView) -> str:
        """The response as it began, each image, and the response as it ended."""
        del request
        calls = _calls(job)
        images = [one for number, call in enumerate(calls) for one in _call_events(number, call)]
        ended = {"type": "response.completed", "response": _response(job, "completed", calls)}
        return _numbered([_created(job), *images, ended]) + DONE

    def failed_events(self, request: ClientRequest, job: JobView, refusal: Refusal) -> str:
        """The response as it began, and as it ended with its error."""
        del request
        failed = _response(job, "failed", []) | {"error": _error(refusal)}
        return _numbered([_created(job), {"type": "response.failed", "response": failed}]) + DONE

    def stream_refused(self, request: ClientRequest, refusal: Refusal) -> str:
        """The event of an error."""
        del request
        return _numbered([{"type": "error", "param": None} | _error(refusal)]) + DONE


DIALECT: StreamingDialect = OpenRouterResponsesDialect()


def _calls(job: JobView) -> list[dict[str, Any]]:
    return [
        {
            "type": "image_generation_call",
            "id": f"ig_{job.job_id}_{number}",
            "status": "completed",
            "result": image.url if image.base64 is None else image.base64,
        }
        for number, image in enumerate(job.images)
    ]


def _response(job: JobView, status: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The response; what does not depend on the job are values that clients must find."""
    ended = seconds_of(job) if status == "completed" else None
    return {
        "id": job.request_id,
        "object": "response",
        "created_at": int(job.created_at.timestamp()),
        "completed_at": ended,
        "model": model_of(job),
        "status": status,
        "output": calls,
        "usage": _usage(job) if status == "completed" else None,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
    }


def _usage(job: JobView) -> dict[str, Any]:
    return {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
        "cost": cost_usd(job),
    }


def _created(job: JobView) -> dict[str, Any]:
    return {"type": "response.created", "response": _response(job, "in_progress", [])}


def _call_events(number: int, call: Mapping[str, Any]) -> list[dict[str, Any]]:
    begun = {name: value for name, value in call.items() if name != "result"} | {"status": "in_progress"}
    return [
        {"type": "response.output_item.added", "output_index": number, "item": begun},
        {"type": "response.output_item.done", "output_index": number, "item": call},
    ]


def _error(refusal: Refusal) -> dict[str, str]:
    refused = "image_content_policy_violation" if is_policy(refusal.message) else "invalid_prompt"
    code = refused if refusal.kind is InvalidRequest else "server_error"
    return {"code": code, "message": refusal.message}


def _numbered(events: Sequence[Mapping[str, Any]]) -> str:
    return "".join(
        event({**one, "sequence_number": number}, one["type"]) for number, one in enumerate(events)
    )
