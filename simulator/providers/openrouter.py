"""OpenRouter: images by chat completions, by responses and by its images endpoint, also as events."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue
from starlette.datastructures import Headers

from simulator.config import UpstreamConfig
from simulator.content import Content
from simulator.images import InputImage
from simulator.providers.inputs import read_data_url
from simulator.providers.openrouter_images import images_answer, read_images
from simulator.providers.openrouter_wire import events, usage
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
from simulator.shapes import ratio_size, scaled
from simulator.wire import Answer, json_answer

# The context is 4K tokens; without its tokenizer four characters count as one.
MAX_PROMPT_CHARACTERS = 4 * 4096
_RATIO = r"^[1-9][0-9]{0,2}:[1-9][0-9]{0,2}$"
_EXTREME = 8

PositiveInt = Annotated[int, Field(ge=1)]


class _ImageUrl(Fields):
    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class _TextPart(Fields):
    type: Literal["text"]
    text: str


class _ImagePart(Fields):
    type: Literal["image_url"]
    image_url: _ImageUrl


class _InputText(Fields):
    type: Literal["input_text"]
    text: str


class _InputImage(Fields):
    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high"] = "auto"


class _Message(Fields):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Annotated[_TextPart | _ImagePart, Field(discriminator="type")]]


class _InputMessage(Fields):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Annotated[_InputText | _InputImage, Field(discriminator="type")]]


class _ImageConfig(Fields):
    aspect_ratio: Annotated[str, Field(pattern=_RATIO)] | None = None
    image_size: Literal["1K"] | None = None


class _Common(Fields):
    model: str
    modalities: list[Literal["image", "text"]] = Field(default_factory=list[Literal["image", "text"]])
    image_config: _ImageConfig = _ImageConfig()
    temperature: Annotated[float, Field(ge=0, le=2)] = 1
    stream: bool = False
    user: str | None = None


class _Chat(_Common):
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    usage: dict[str, JsonValue] | None = None


class _Responses(_Common):
    input: str | Annotated[list[_InputMessage], Field(min_length=1)]
    max_output_tokens: PositiveInt | None = None


class OpenRouter(Provider):
    """Data URLs in `message.images`, with `content` null; without the image modality only text comes back."""

    table: ClassVar[Mapping[Reason, tuple[int, str]]] = {
        "unauthorized": (401, "401"),
        "unknown_route": (404, "404"),
        "unknown_model": (404, "404"),
        "unsupported": (404, "404"),
        "unreadable": (400, "400"),
        "too_large": (413, "413"),
        "invalid": (400, "400"),
        "policy": (403, "403"),
        "throttled": (429, "429"),
    }

    def route(self, method: str, path: str) -> Route | None:
        """Three routes; whether they edit is said by the body."""
        match method, path:
            case "POST", "/api/v1/chat/completions":
                return Route("generate", flavour="chat")
            case "POST", "/api/v1/responses":
                return Route("generate", flavour="responses")
            case "POST", "/api/v1/images":
                return Route("generate", flavour="images")
            case _:
                return None

    def operation(self, route: Route, content: Content) -> Route:
        """With an image part among the messages, or with references, it is an edit."""
        if route.flavour == "images":
            return replace(route, operation="edit") if content.fields.get("input_references") else route
        parts = content.fields.get("messages") or content.fields.get("input")
        text = json.dumps(parts)
        edits = '"type": "image_url"' in text or '"type": "input_image"' in text
        return replace(route, operation="edit") if edits else route

    def authorized(self, headers: Headers, upstream: UpstreamConfig) -> bool:
        """A bearer key."""
        return bearer(headers) in upstream.keys

    def read(self, route: Route, content: Content) -> Ask:
        """The user's text is the prompt, the first image the one to edit."""
        if route.flavour == "images":
            return read_images(content.fields)
        if route.flavour == "chat":
            chat = checked(_Chat, content.fields)
            texts, urls = _chat_parts(chat.messages)
            return _ask(chat, texts, urls)
        responses = checked(_Responses, content.fields)
        texts, urls = _input_parts(responses.input)
        return _ask(responses, texts, urls)

    def success(self, success: Success) -> Answer:
        """The images; the usage holds the cost."""
        if success.route.flavour == "images":
            return images_answer(success)
        images = success.images or ()
        urls = [f"data:image/png;base64,{image}" for image in images]
        options = success.ask.options
        if not options["image"]:
            urls, images = [], ()
        if success.route.flavour == "responses":
            body = _response(success, images)
            return events(_response_events(body)) if options["stream"] else json_answer(200, body)
        if options["stream"]:
            return events([*_chunks(success, urls), "[DONE]"])
        return json_answer(200, _completion(success, urls))

    def envelope(self, error: Failure) -> dict[str, Any]:
        """`{"error": {"code", "message"}}`, the code a number; moderation says what it flagged."""
        code: int | str = int(error.code) if error.code.isdigit() else error.code
        body: dict[str, Any] = {"code": code, "message": error.refusal.message}
        if error.refusal.reason == "policy":
            body["metadata"] = {"reasons": ["violence"], "flagged_input": "forbidden-content"}
        return {"error": body}


def _ask(fields: _Common, texts: Sequence[str], urls: Sequence[str]) -> Ask:
    prompt = "\n".join(texts).strip()
    if not prompt:
        raise InvalidAskError("messages: a text of the user is required", "messages")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidAskError("messages: longer than the context of 4096 tokens", "messages")
    sources = [_source(url) for url in urls]
    source = next((one for one in sources if one), None)
    options = {"image": "image" in fields.modalities, "stream": fields.stream}
    return Ask(prompt, 1, _size(fields.image_config.aspect_ratio, source), source=source, options=options)


def _size(ratio: str | None, source: InputImage | None) -> tuple[int, int]:
    if ratio is None:
        return scaled(source.size) if source else ratio_size("auto")
    width, height = (int(side) for side in ratio.split(":"))
    if max(width, height) > _EXTREME * min(width, height):
        raise InvalidAskError("image_config.aspect_ratio: too extreme", "image_config.aspect_ratio")
    return ratio_size(ratio)


def _source(url: str) -> InputImage | None:
    # An http(s) image is accepted by its look: the simulator fetches nothing.
    return None if url.lower().startswith(("http://", "https://")) else read_data_url(url, "image_url")


def _chat_parts(messages: Sequence[_Message]) -> tuple[list[str], list[str]]:
    texts, urls = list[str](), list[str]()
    for message in messages:
        if message.role != "user":
            continue
        parts = message.content
        for part in [_TextPart(type="text", text=parts)] if isinstance(parts, str) else parts:
            if isinstance(part, _TextPart):
                texts.append(part.text)
            else:
                urls.append(part.image_url.url)
    return texts, urls


def _input_parts(given: str | Sequence[_InputMessage]) -> tuple[list[str], list[str]]:
    if isinstance(given, str):
        return [given], []
    texts, urls = list[str](), list[str]()
    for message in given:
        if message.role != "user":
            continue
        parts = message.content
        for part in [_InputText(type="input_text", text=parts)] if isinstance(parts, str) else parts:
            if isinstance(part, _InputText):
                texts.append(part.text)
            else:
                urls.append(part.image_url)
    return texts, urls


def _images(urls: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"type": "image_url", "image_url": {"url": url}, "index": index} for index, url in enumerate(urls)
    ]


def _completion(success: Success, urls: Sequence[str]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if urls else "Here is some text."}
    if urls:
        message["images"] = _images(urls)
    return {
        "id": f"gen-{success.reference}",
        "object": "chat.completion",
        "created": int(success.created),
        "model": success.model,
        "provider": "Azure",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": usage(success, len(urls)),
    }


def _chunks(success: Success, urls: Sequence[str]) -> list[str]:
    head = {"id": f"gen-{success.reference}", "object": "chat.completion.chunk", "model": success.model}
    delta: dict[str, Any] = {"role": "assistant", "content": "" if urls else "Here is some text."}
    if urls:
        delta["images"] = _images(urls)
    first = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    last: dict[str, Any] = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return [json.dumps(first), json.dumps({**last, "usage": usage(success, len(urls))})]


def _response(success: Success, images: Sequence[str]) -> dict[str, Any]:
    output: list[dict[str, Any]] = [
        {"type": "image_generation_call", "id": f"ig_{index}", "status": "completed", "result": image}
        for index, image in enumerate(images)
    ]
    return {
        "id": f"resp_{success.reference}",
        "object": "response",
        "created_at": int(success.created),
        "model": success.model,
        "status": "completed",
        "output": output,
        "usage": usage(success, len(images)),
    }


def _response_events(body: dict[str, Any]) -> list[str]:
    created: dict[str, Any] = {**body, "status": "in_progress", "output": []}
    return [
        json.dumps({"type": "response.created", "response": created}),
        json.dumps({"type": "response.completed", "response": body}),
    ]
