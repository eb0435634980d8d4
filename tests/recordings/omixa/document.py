"""What the Omixa document takes: up to ten images a call, three sizes, input images and a mask inline."""

from __future__ import annotations

import json

import httpx

from imagequeue.providers.provider import Call
from tests.providers.document import THREE_SIZES, Document, check_image_parts, check_images_api_fields

_SHAPES = {"auto", "1:1", "2:3", "3:2"} | THREE_SIZES


def _check(request: httpx.Request, call: Call) -> None:
    assert request.url.path == "/api/v1/images/generations"
    assert request.headers["authorization"] == "Bearer secret"
    fields = json.loads(request.content)
    edit = {"input_images", "input_fidelity", "mask"} if call.operation == "edit" else set[str]()
    check_images_api_fields(fields, call, {"moderation"} | edit)
    if call.operation == "edit":
        check_image_parts(fields["input_images"], call)
        assert ("mask" in fields) == (call.mask is not None)


DOCUMENT = Document(
    upstream_model="MAI-Image-2.5",
    shapes={"generate": _SHAPES, "edit": _SHAPES},
    images_per_call=10,
    most_inputs=99,
    masks=True,
    prompts=(1, 1_000_000),
    check=_check,
)
