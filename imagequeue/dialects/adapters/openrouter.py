"""OpenRouter's dialect of chat completions, whole or as server-sent events; and its list of models.

Source: the OpenRouter document, and docs/design/protocols.md, "The OpenRouter dialects". Images stand in
`message.images` as data URLs. An image that the client sends back with its conversation is an input image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from imagequeue.dialects.dialect import (
    ClientRequest,
    DialectRoute,
    Refusal,
    Rendered,
    StreamingDialect,
    SubmittedBody,
)
from imagequeue.dialects.events import DONE, event
from imagequeue.dialects.fields import WHOLE, AnswerFields, BodyFields, shown, validated
from imagequeue.dialects.openrouter import (
    MOST_MESSAGES,
    CallFields,
    CallUsage,
    Conversation,
    OpenRouterAnswers,
    OpenRouterError,
    error_of,
    model_of,
    read_call,
    usage_of,
)
from imagequeue.dialects.openrouter_models import ChatModelList, chat_model
from imagequeue.dialects.synchronous import answers, data_url, seconds_of
from imagequeue.domain.catalog import Catalog, Model
from imagequeue.domain.job_view import JobView
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload

FIELD = "messages"


class ImageUrl(BodyFields):
    """Where an input image is: an http(s) or data URL."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class TextPart(BodyFields):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ImagePart(BodyFields):
    """An image in a message; answers have an `index`, too."""

    type: Literal["image_url"]
    image_url: ImageUrl
    index: Annotated[int, WHOLE] | None = None


def _parts(content: object) -> object:
    """A content that is one text, or null as in an answer with images, as a list of parts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [] if content is None else content


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Parts = Annotated[list[Part], BeforeValidator(_parts), Field(max_length=MOST_MESSAGES)]


class Message(BodyFields):
    """A message of the conversation. The texts of the assistant are no part of the prompt, its images are."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Parts = Field(default_factory=list[Part])
    images: Annotated[list[ImagePart], Field(max_length=MOST_MESSAGES)] | None = None
    name: str | None = None
    refusal: str | None = None


class StreamOptions(BodyFields):
    """Without effect: every answer says its usage."""

    include_usage: bool | None = None


class UsageOptions(BodyFields):
    """Without effect: every answer says its usage."""

    include: bool | None = None


class ChatBody(CallFields):
    """A chat that asks for an image."""

    model_config = shown(
        {
            "model": "microsoft/mai-image-2.5",
            "modalities": ["image"],
            "messages": [{"role": "user", "content": "A lighthouse at dusk"}],
        }
    )

    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    n: Annotated[int, WHOLE, Field(ge=1, le=1)] | None = None
    stream_options: StreamOptions | None = None
    usage: UsageOptions | None = None


class ChatImageUrl(AnswerFields):
    """A data URL, or a link where a limit forbids that."""

    url: str


class ChatImage(AnswerFields):
    """An image of an answer."""

    type: Literal["image_url"]
    image_url: ChatImageUrl
    index: int


class ChatMessage(AnswerFields):
    """The assistant's message: it says nothing, and has images."""

    role: Literal["assistant"]
    content: str | None
    images: list[ChatImage]


class Choice(AnswerFields):
    """The only choice."""

    index: int
    finish_reason: Literal["stop"]
    message: ChatMessage


class Completion(AnswerFields):
    """The answer with the image; `id` is that of the job, `created` is in seconds since 1970."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: CallUsage


CHAT = DialectRoute(
    method="POST",
    path="/api/v1/chat/completions",
    verb="submit",
    summary="Chat completion with an image",
    description="Waits for the image; with `stream: true` as server-sent events.",
    bodies={"json": (ChatBody,)},
    responses=answers(Completion, OpenRouterError),
    waits=True,
)
MODELS = DialectRoute(
    method="GET",
    path="/api/v1/models",
    verb="models",
    summary="List the models",
    description="The models of the catalog. `pricing.image_output` is the price of an image in USD.",
    responses={200: ChatModelList},
)


class OpenRouterDialect(OpenRouterAnswers):
    """A chat whose answer is one image."""

    name = "openrouter"
    title = "OpenRouter"
    prefixes = ("/api/v1",)
    routes = (CHAT, MODELS)

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read a chat as one prompt with input images."""
        del request
        fields = validated(ChatBody, body)
        return read_call(fields, Conversation.of(FIELD, _conversation(fields.messages)), catalog)

    def completed(self, request: ClientRequest, job: JobView) -> Mapping[str, Any]:
        """A completion whose message has the images."""
        del request
        message = {"role": "assistant", "content": None, "images": _images(job)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return _head(job, "chat.completion") | {"choices": [choice], "usage": usage_of(job)}

    def models(self, request: ClientRequest, models: Sequence[Model]) -> Rendered:
        """The models with what they take and what they cost."""
        del request
        return Rendered(200, json.dumps({"data": [chat_model(model) for model in models]}))

    def completed_events(self, request: ClientRequest, job: JobView) -> str:
        """One delta with the images, and a chunk with the reason of the end and the usage."""
        del request
        head = _head(job, "chat.completion.chunk")
        first = {"role": "assistant", "content": "", "images": _images(job)}
        images = head | {"choices": [_delta(first, None)]}
        end = head | {"choices": [_delta({}, "stop")], "usage": usage_of(job)}
        return event(images) + event(end) + DONE

    def stream_refused(self, request: ClientRequest, refusal: Refusal) -> str:
        """A chunk that says what went wrong."""
        del request
        chunk = {"object": "chat.completion.chunk", "choices": [_delta({"content": ""}, "error")]}
        return event(error_of(refusal) | chunk) + DONE


DIALECT: StreamingDialect = OpenRouterDialect()


def _conversation(messages: Sequence[Message]) -> Iterator[str | Upload]:
    for number, message in enumerate(messages):
        place = f"{FIELD}.{number}"
        for at, part in enumerate(message.content):
            if isinstance(part, ImagePart):
                yield Upload(f"{place}.content.{at}", part.image_url.url)
            elif message.role != "assistant":
                yield part.text
        for at, image in enumerate(message.images or ()):
            yield Upload(f"{place}.images.{at}", image.image_url.url)


def _head(job: JobView, kind: str) -> dict[str, Any]:
    return {"id": job.request_id, "object": kind, "created": seconds_of(job), "model": model_of(job)}


def _images(job: JobView) -> list[dict[str, Any]]:
    return [
        {"type": "image_url", "image_url": {"url": data_url(image)}, "index": number}
        for number, image in enumerate(job.images)
    ]


def _delta(delta: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}
