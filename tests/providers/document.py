"""What an upstream's document takes, written down once more, independently of its adapter.

`tests/recordings/{provider}/document.py` says `DOCUMENT = Document(...)`, next to the recorded answers.
Here is what several of them read in the same way.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from imagequeue.domain.images import Operation, Requirement
from imagequeue.providers.provider import Call

SEVEN = {"1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"}
TEN = SEVEN | {"21:9", "5:4", "4:5"}
THREE_SIZES = {"1024x1024", "1024x1536", "1536x1024"}
QUALITIES = {"auto", "low", "medium", "high"}
TOKENS = ("temperature", "max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The rules of one upstream.

    Attributes:
        upstream_model: what it calls a model of its own.
        shapes: of each operation that it has.
        images_per_call: how many images one call may ask for.
        most_inputs: how many input images an edit may have.
        masks: whether an edit may have a mask.
        prompts: the shortest and the longest prompt, in characters.
        check: fails unless the document takes a request, which was made with the key `secret`: an unknown
            field, a value out of range or a wrong path. It is as strict as the document.
    """

    upstream_model: str
    shapes: Mapping[Operation, Collection[str]]
    images_per_call: int
    most_inputs: int = 0
    masks: bool = False
    prompts: tuple[int, int]
    check: Callable[[httpx.Request, Call], None]

    def serves(self, requirement: Requirement) -> bool:
        """Whether the document lets this upstream serve the requirement."""
        edit = requirement.operation == "edit"
        inputs = range(1, self.most_inputs + 1) if edit else range(1)
        shortest, longest = self.prompts
        return (
            str(requirement.shape) in self.shapes.get(requirement.operation, ())
            and requirement.input_count in inputs
            and (not requirement.has_mask or (edit and self.masks))
            and shortest <= requirement.prompt_limit <= longest
        )


def check_images_api_fields(fields: dict[str, Any], call: Call, more: set[str]) -> None:
    """The fields of OpenAI's images API, which others have taken over."""
    known = {"model", "prompt", "n", "size", "output_format", "quality", "background"}
    assert fields.keys() <= known | more
    assert fields["n"] == call.image_count <= 10
    assert fields["size"] in THREE_SIZES | {"auto"}
    assert (fields["size"] == "auto") == (str(call.shape) == "auto")
    assert fields["output_format"] == call.output_format
    assert fields.get("quality", "auto") in QUALITIES


def check_tokens(fields: dict[str, Any], call: Call) -> None:
    """The options of chat models."""
    assert {name: fields[name] for name in TOKENS if name in fields} == {
        name: call.options[name] for name in TOKENS if name in call.options
    }


def check_image_parts(parts: list[dict[str, Any]], call: Call) -> None:
    """Input images as parts of a message."""
    for part, image in zip(parts, call.input_images, strict=True):
        encoded = base64.b64encode(image.content).decode()
        url = f"data:{image.media_type};base64,{encoded}"
        assert part == {"type": "image_url", "image_url": {"url": url}}


def form_of(request: httpx.Request) -> list[tuple[str, str]]:
    """The fields of a multipart request in order; a file's content is its name."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = request.content.split(b"--" + boundary)[1:-1]
    return [_field(part) for part in parts]


def _field(part: bytes) -> tuple[str, str]:
    head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
    name = head.partition(b'name="')[2].partition(b'"')[0].decode()
    is_file = b"filename=" in head
    return name, head.decode() if is_file else content.decode()
