"""What is special about Foundry: refusals, multipart edits, two kinds of credentials."""

from __future__ import annotations

import json

import httpx
import pytest

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.images import Requirement, Shape
from imagequeue.providers.adapters.foundry import Foundry
from imagequeue.providers.provider import Call
from tests.providers.deployments import deployment

PLACE = deployment("foundry", "https://my-resource.services.ai.azure.com/")


@pytest.mark.parametrize(
    "requirement",
    [
        Requirement(operation="edit", input_count=1, shape=Shape.parse("1:1")),
        Requirement(operation="edit", input_count=2),
        Requirement(operation="edit", input_count=0),
        Requirement(operation="edit", input_count=1, has_mask=True),
        Requirement(operation="generate", input_count=1),
        Requirement(prompt_limit=32_001),
    ],
    ids=str,
)
def test_what_foundry_cannot_do_is_refused(requirement: Requirement) -> None:
    assert Foundry().refusal(requirement, PLACE)


def test_generate_is_json_with_a_size() -> None:
    call = Call(prompt="A lamp – at night", shape=Shape.parse("9:16"), options={"quality": "high"})
    request = Foundry().build(call, PLACE, "secret")
    assert str(request.url) == "https://my-resource.services.ai.azure.com/mai/v1/images/generations"
    assert request.headers["api-key"] == "secret"
    assert json.loads(request.content) == {
        "model": "mai-image-2-5",
        "prompt": "A lamp – at night",
        "width": 768,
        "height": 1360,
    }


def test_edit_is_a_form_with_the_image() -> None:
    image = EncodedImage(b"\xff\xd8\xff jpeg", "image/jpeg", 10, 10)
    request = Foundry().build(Call(prompt="Warmer", operation="edit", input_images=(image,)), PLACE, "secret")
    content = request.read()
    assert request.url.path == "/mai/v1/images/edits"
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert (
        b'name="image"; filename="image.jpeg"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff jpeg' in content
    )
    assert b'name="prompt"\r\n\r\nWarmer' in content
    assert b"width" not in content


def test_entra_tokens_are_bearer_tokens() -> None:
    place = deployment("foundry", auth="entra", key_env=None)
    request: httpx.Request = Foundry().build(Call(prompt="A lamp"), place, "token")
    assert request.headers["authorization"] == "Bearer token"
    assert "api-key" not in request.headers
