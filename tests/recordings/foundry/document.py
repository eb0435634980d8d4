"""What the Foundry document takes: one image a call, one PNG or JPEG as input, sizes within limits."""

from __future__ import annotations

import json

import httpx

from imagequeue.providers.provider import Call
from tests.providers.document import TEN, Document, form_of


def _check(request: httpx.Request, call: Call) -> None:
    assert request.headers["api-key"] == "secret"
    if call.operation == "edit":
        assert request.url.path == "/mai/v1/images/edits"
        form = form_of(request)
        assert {name for name, _ in form} == {"model", "prompt", "image"}
        assert len(form) == 3
        return
    assert request.url.path == "/mai/v1/images/generations"
    fields = json.loads(request.content)
    assert fields.keys() == {"model", "prompt", "width", "height"}
    assert min(fields["width"], fields["height"]) >= 768
    assert fields["width"] * fields["height"] <= 1_048_576
    assert call.shape.size or fields["width"] % 16 == fields["height"] % 16 == 0


DOCUMENT = Document(
    upstream_model="mai-image-2-5",
    shapes={"generate": {"auto"} | (TEN - {"21:9"}) | {"1024x1024", "1365x768"}, "edit": {"auto"}},
    images_per_call=1,
    most_inputs=1,
    prompts=(1, 32_000),
    check=_check,
)
