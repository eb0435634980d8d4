"""What the Pixazo document takes: up to four images a call, one input image, ten ratios (edits: seven)."""

from __future__ import annotations

import json

import httpx

from imagequeue.providers.provider import Call
from tests.providers.document import SEVEN, TEN, Document


def _check(request: httpx.Request, call: Call) -> None:
    model = "microsoft-mai-image-2-5" + ("-edit" if call.operation == "edit" else "")
    assert request.url.path == f"/{model}/v1/{model}-request"
    assert request.headers["ocp-apim-subscription-key"] == "secret"
    assert request.headers.get("x-webhook-url") == call.callback_url
    assert request.headers["content-type"] == "application/json"
    fields = json.loads(request.content)
    images = fields.pop("image_urls", [])
    assert len(images) == (call.operation == "edit")
    assert fields == {
        "prompt": call.prompt,
        "num_images": call.image_count,
        "aspect_ratio": str(call.shape),
        "output_format": call.output_format,
        "sync_mode": False,
    }
    assert 1 <= fields["num_images"] <= 4
    assert fields["aspect_ratio"] in {"auto"} | (SEVEN if call.operation == "edit" else TEN)


DOCUMENT = Document(
    upstream_model="microsoft-mai-image-2-5",
    shapes={"generate": {"auto"} | TEN, "edit": {"auto"} | SEVEN},
    images_per_call=4,
    most_inputs=1,
    prompts=(3, 5_000),
    check=_check,
)
