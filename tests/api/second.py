"""What clients of the second dialect (`tests/dialects/second.py`) send, and what its envelope says."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.service import Client
from tests.builders import MODEL

IMAGES = "/second/images"
NOW = "/second/now"
BODY = {"model": MODEL, "text": "a fox"}
MOST_BYTES = 2 * 1024 * 1024


def submit(client: Client, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return client.http.post(IMAGES, json=BODY | fields, headers=headers)


def submit_form(client: Client, *images: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    files = [("image", (f"{number}.png", image, "image/png")) for number, image in enumerate(images)]
    return client.http.post(IMAGES, data=BODY | {"count": "2"}, files=files, headers=headers)


def failure(response: httpx.Response) -> tuple[str, str]:
    """What the second dialect's envelope says, and that it says nothing else."""
    (told,) = response.json().values()
    assert (set(response.json()), set(told)) == ({"failure"}, {"code", "text"})
    return told["code"], told["text"]
