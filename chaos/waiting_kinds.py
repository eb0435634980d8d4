"""The kinds of clients that wait for their final job: what each sends, and how it reads its answer."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.upstreams import DEPLOYMENTS, MODEL, SIZED_DEPLOYMENTS

_FAILURES = {400: "FAILED", 502: "ERROR"}
"""How a job ended without images, by the status of the answer, or by the code of an error in a stream."""
_DONE = "data: [DONE]"
_DATA = "data: "


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended, by its answer: its status, and each image as its `mark_of` or as its URL."""

    status: str
    images: tuple[str, ...] = ()


Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class WaitingKind:
    """One kind of client.

    `fields` makes the body from a prompt and the number of images. `read` is given the status and the text of
    an answer; None: it does not tell how the job ended. The deployments in `serving` can serve its jobs.
    """

    path: str
    fields: Callable[[str, int], Fields]
    read: Callable[[int, str], Ending | None]
    most_images: int = 1
    serving: frozenset[str] = DEPLOYMENTS


def mark_of(content: bytes) -> str:
    """What stands for an image's bytes in an `Ending`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _failure(status: int) -> Ending | None:
    return Ending(_FAILURES[status]) if status in _FAILURES else None


def _read_data(status: int, text: str) -> Ending | None:
    if status != 200:  # noqa: PLR2004  # OK
        return _failure(status)
    return Ending("COMPLETED", tuple(_entry(entry) for entry in json.loads(text)["data"]))


def _entry(entry: Mapping[str, str]) -> str:
    return mark_of(base64.b64decode(entry["b64_json"])) if "b64_json" in entry else entry["url"]


def _read_chat(status: int, text: str) -> Ending | None:
    if status != 200:  # noqa: PLR2004  # OK
        return _failure(status)
    return Ending("COMPLETED", _images_of(json.loads(text)["choices"][0]["message"]))


def _read_stream(status: int, text: str) -> Ending | None:
    lines = text.splitlines()
    if status != 200 or _DONE not in lines:  # noqa: PLR2004  # OK
        return _failure(status)
    chunks = [
        json.loads(line.removeprefix(_DATA)) for line in lines if line.startswith(_DATA) and line != _DONE
    ]
    failures = [int(chunk["error"]["code"]) for chunk in chunks if "error" in chunk]
    if failures:
        return _failure(failures[0])
    images = [_images_of(chunk["choices"][0]["delta"]) for chunk in chunks]
    return Ending("COMPLETED", tuple(image for some in images for image in some))


def _images_of(message: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_of_data_url(image["image_url"]["url"]) for image in message.get("images", ()))


def _read_status_body(status: int, text: str) -> Ending | None:
    """A final job is 200 here, however it ended."""
    if status != 200:  # noqa: PLR2004  # OK
        return None
    body = json.loads(text)
    urls: list[str] = body["output"]["media_url"] if body["output"] else []
    return Ending(body["status"], tuple(map(_of_data_url, urls)))


def _of_data_url(url: str) -> str:
    head, found, content = url.partition(";base64,")
    return mark_of(base64.b64decode(content)) if found and head.startswith("data:") else url


def _openai(prompt: str, images: int) -> Fields:
    return _aiml(prompt, images) | {"response_format": "b64_json"}


def _aiml(prompt: str, images: int) -> dict[str, object]:
    """The same path without OpenAI's field: the answer has URLs."""
    return {"model": MODEL, "prompt": prompt, "n": images, "aspect_ratio": "1:1"}


def _foundry(prompt: str, images: int) -> Fields:
    del images
    return {"model": MODEL, "prompt": prompt, "width": 1024, "height": 1024}


def _chat(prompt: str, images: int) -> dict[str, object]:
    del images
    return {
        "model": MODEL,
        "modalities": ["image"],
        "image_config": {"aspect_ratio": "1:1"},
        "messages": [{"role": "user", "content": prompt}],
    }


def _streamed_chat(prompt: str, images: int) -> Fields:
    return _chat(prompt, images) | {"stream": True}


def _pixazo(prompt: str, images: int) -> Fields:
    return {"prompt": prompt, "num_images": images, "aspect_ratio": "1:1", "sync_mode": True}


_IMAGES, _CHAT = "/v1/images/generations", "/api/v1/chat/completions"

KINDS: Mapping[str, WaitingKind] = {
    "openai": WaitingKind(_IMAGES, _openai, _read_data, most_images=4),
    "aiml": WaitingKind(_IMAGES, _aiml, _read_data, most_images=4),
    "foundry": WaitingKind("/mai/v1/images/generations", _foundry, _read_data, serving=SIZED_DEPLOYMENTS),
    "openrouter": WaitingKind(_CHAT, _chat, _read_chat),
    "openrouter stream": WaitingKind(_CHAT, _streamed_chat, _read_stream),
    "pixazo sync_mode": WaitingKind(
        f"/{MODEL}/v1/{MODEL}-request", _pixazo, _read_status_body, most_images=4
    ),
}
"""By name. Every deployment takes a ratio; an exact size, as Foundry's clients ask for, only some."""
