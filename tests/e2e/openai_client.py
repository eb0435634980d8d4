"""The `openai` package as a client of a running stack, and what its tests look for in an answer."""

from __future__ import annotations

import base64
import io
from decimal import Decimal
from typing import Any

import httpx2
from openai import DefaultHttpxClient, OpenAI
from openai.types import Image as ImageEntry
from openai.types import ImagesResponse
from PIL import Image

from tests.e2e.live import LiveStack

NAME = "MAI-Image-2.5"
PRICE = Decimal("0.039")
REFUSED = "forbidden-content"
"""A prompt with this word is refused by every upstream of the simulator."""


class Line(httpx2.HTTPTransport):
    """The way to the server: counts requests, and loses the first answers after they have been sent."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.lost, self.retry_counts = lost, list[str]()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.retry_counts.append(request.headers["x-stainless-retry-count"])
        answer = super().handle_request(request)
        if len(self.retry_counts) <= self.lost:
            answer.close()
            raise httpx2.ReadError("the connection broke", request=request)
        return answer


def openai_client(stack: LiveStack, line: Line | None = None, **more: Any) -> OpenAI:
    """A client as a program would make it, with other options where a test gives them."""
    http = DefaultHttpxClient(trust_env=False, transport=line)
    given: dict[str, Any] = {"base_url": f"{stack.url}/v1", "api_key": stack.key, "http_client": http}
    return OpenAI(**given | more)


def image_of(entry: ImageEntry) -> Image.Image:
    """The image of an entry that has base64 and nothing else."""
    assert entry.b64_json is not None
    assert entry.url is None
    return opened(entry.b64_json)


def opened(encoded: str) -> Image.Image:
    """The image behind base64."""
    image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
    image.load()
    return image


def images_of(answer: ImagesResponse) -> list[Image.Image]:
    """The images of an answer with base64."""
    assert answer.data is not None
    return [image_of(entry) for entry in answer.data]


def png(colour: str, *, hole: bool = False) -> bytes:
    """A picture; with a hole it is a mask, whose transparent quarter is to be edited."""
    picture = Image.new("RGBA", (256, 256), colour)
    if hole:
        picture.paste((0, 0, 0, 0), (0, 0, 128, 128))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
