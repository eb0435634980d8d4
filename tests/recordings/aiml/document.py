"""What the AIML API document takes: one image a call, seven ratios, no edits."""

from __future__ import annotations

import json

import httpx

from imagequeue.providers.provider import Call
from tests.providers.document import SEVEN, TOKENS, Document, check_tokens


def _check(request: httpx.Request, call: Call) -> None:
    assert request.url.path == "/v1/images/generations"
    assert request.headers["authorization"] == "Bearer secret"
    fields = json.loads(request.content)
    assert fields.keys() <= {"model", "prompt", "aspect_ratio", *TOKENS}
    assert fields["model"] == "microsoft/mai-image-2.5"
    assert fields.get("aspect_ratio", "1:1") in SEVEN
    assert fields.get("aspect_ratio", "auto") == str(call.shape)
    check_tokens(fields, call)


DOCUMENT = Document(
    upstream_model="microsoft/mai-image-2.5",
    shapes={"generate": {"auto"} | SEVEN},
    images_per_call=1,
    prompts=(1, 4_000),
    check=_check,
)
