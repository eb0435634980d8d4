"""The `input` of a response: one text, or a conversation in the format of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Discriminator, Field, Tag

from imagequeue.dialects.fields import BodyFields
from imagequeue.dialects.openrouter import MOST_MESSAGES
from imagequeue.lifecycle.submit.uploads import Upload

FIELD = "input"


class InputText(BodyFields):
    """A text in a message."""

    type: Literal["input_text"]
    text: str


class InputImage(BodyFields):
    """An image in a message: an http(s) or data URL."""

    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high"] | None = None


class OutputText(BodyFields):
    """What the assistant said before; it is no part of the prompt."""

    type: Literal["output_text"]
    text: str
    annotations: Annotated[list[Any], Field(max_length=MOST_MESSAGES)] | None = None


Part = Annotated[InputText | InputImage | OutputText, Field(discriminator="type")]


def _parts(content: object) -> object:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


class InputMessage(BodyFields):
    """A message of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], BeforeValidator(_parts), Field(max_length=MOST_MESSAGES)]
    id: str | None = None
    status: str | None = None


class EarlierImage(BodyFields):
    """An image of an earlier answer, as that had it."""

    type: Literal["image_generation_call"]
    id: str
    status: str
    result: str


def _kind(item: object) -> str:
    """What an item is: a message may leave its type out."""
    kind = cast("dict[str, object]", item).get("type") if isinstance(item, dict) else None
    return "image" if kind == "image_generation_call" else "message"


def _items(given: object) -> object:
    """An input that is one text, as a message of the user."""
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


Item = Annotated[
    Annotated[InputMessage, Tag("message")] | Annotated[EarlierImage, Tag("image")], Discriminator(_kind)
]
Items = Annotated[list[Item], BeforeValidator(_items), Field(min_length=1, max_length=MOST_MESSAGES)]
"""The conversation: one text, or messages and images of earlier answers."""


def parts_of(given: Sequence[InputMessage | EarlierImage]) -> Iterator[str | Upload]:
    """The texts and the input images of a conversation, in their order."""
    for number, item in enumerate(given):
        if isinstance(item, EarlierImage):
            yield Upload(f"{FIELD}.{number}.result", _source(item.result))
            continue
        for at, part in enumerate(item.content):
            if isinstance(part, InputImage):
                yield Upload(f"{FIELD}.{number}.content.{at}", part.image_url)
            elif isinstance(part, InputText) and item.role != "assistant":
                yield part.text


def _source(result: str) -> str:
    """The result of an earlier answer as the URL that it is, or as a data URL."""
    return result if ":" in result[:6] else f"data:image/png;base64,{result}"
