"""What the OpenRouter document takes: a chat with the image modality, ten ratios, many input images."""

from __future__ import annotations

import json

import httpx

from imagequeue.providers.provider import Call
from tests.providers.document import TEN, TOKENS, Document, check_image_parts, check_tokens


def _check(request: httpx.Request, call: Call) -> None:
    assert request.url.path == "/api/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer secret"
    fields = json.loads(request.content)
    assert fields.keys() <= {"model", "messages", "modalities", "image_config", *TOKENS}
    assert fields["modalities"] == ["image", "text"]
    assert fields.get("image_config", {"aspect_ratio": "auto"}) == {"aspect_ratio": str(call.shape)}
    (message,) = fields["messages"]
    assert message["role"] == "user"
    if call.operation == "generate":
        assert message["content"] == call.prompt
    else:
        text, *images = message["content"]
        assert text == {"type": "text", "text": call.prompt}
        check_image_parts(images, call)
    check_tokens(fields, call)


DOCUMENT = Document(
    upstream_model="microsoft/mai-image-2.5",
    shapes={"generate": {"auto"} | TEN, "edit": {"auto"} | TEN},
    images_per_call=1,
    most_inputs=99,
    prompts=(1, 5_000),
    check=_check,
)
