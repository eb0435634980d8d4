"""What OpenAI's API reference takes: up to ten images a call, three sizes, edits as forms with a mask."""

from __future__ import annotations

import json
from typing import Any

import httpx

from imagequeue.providers.provider import Call
from tests.providers.document import THREE_SIZES, Document, check_images_api_fields, form_of

_SHAPES = {"auto", "1:1", "2:3", "3:2"} | THREE_SIZES


def _check(request: httpx.Request, call: Call) -> None:
    assert request.headers["authorization"] == "Bearer secret"
    if call.operation == "generate":
        assert request.url.path == "/v1/images/generations"
        check_images_api_fields(json.loads(request.content), call, {"moderation"})
        return
    assert request.url.path == "/v1/images/edits"
    form = form_of(request)
    images = [name for name, _ in form if name in {"image", "image[]"}]
    assert images == ["image"] if len(call.input_images) == 1 else ["image[]"] * len(call.input_images)
    assert sum(name == "mask" for name, _ in form) == (call.mask is not None)
    texts: dict[str, Any] = {name: text for name, text in form if name not in {"image", "image[]", "mask"}}
    check_images_api_fields(texts | {"n": int(texts["n"])}, call, {"input_fidelity"})


DOCUMENT = Document(
    upstream_model="gpt-image-2",
    shapes={"generate": _SHAPES, "edit": _SHAPES},
    images_per_call=10,
    most_inputs=16,
    masks=True,
    prompts=(1, 32_000),
    check=_check,
)
