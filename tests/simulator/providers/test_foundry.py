"""Foundry's two routes as its document has them."""

from typing import Any

import httpx
import pytest
from PIL import Image

from tests.simulator.conftest import Generate, image_bytes, opened


def decoded(response: httpx.Response) -> Image.Image:
    return opened(response.json()["data"][0]["b64_json"])


def edit(client: httpx.Client, data: dict[str, Any] | None = None, files: Any = None) -> httpx.Response:
    fields = {"model": "mai", "prompt": "make it blue", **(data or {})}
    given = files if files is not None else [("image", ("in.png", image_bytes("PNG"), "image/png"))]
    return client.post("/east/mai/v1/images/edits", data=fields, files=given)


def test_a_generation_is_one_png_of_the_asked_size(generate: Generate) -> None:
    response = generate(width=1365, height=768)
    assert response.status_code == 200
    assert len(response.json()["data"]) == 1
    image = decoded(response)
    assert (image.format, image.size) == ("PNG", (1365, 768))


def test_the_image_shows_its_prompt(generate: Generate) -> None:
    first, again, other = (decoded(generate(prompt=prompt)) for prompt in ("fox", "fox", "an owl in a tree"))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    # White letters on a dark ground, in the upper part, where the prompt is written.
    assert (255, 255, 255) in {colour for _, colour in first.crop((0, 0, 600, 150)).getcolors(1 << 20) or []}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 767}, "width"),
        ({"height": 767}, "height"),
        ({"width": 1025, "height": 1024}, "width"),
        ({"width": "1024"}, "width"),
        ({"width": 1024.5}, "width"),
        ({"width": True}, "width"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x" * 128_001}, "prompt"),
        ({"n": 1}, "n"),
        ({"size": "1024x1024"}, "size"),
        ({"model": None}, "model"),
    ],
)
def test_what_the_document_refuses_is_400_and_named(
    generate: Generate, changes: dict[str, Any], named: str
) -> None:
    response = generate(**changes)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "BadRequest"
    assert named in error["message"]


def test_the_largest_allowed_size_is_served(generate: Generate) -> None:
    assert generate(width=1024, height=1024).status_code == 200
    assert generate(width=768, height=1365).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"api-key": "wrong"}, 401),
        ({"api-key": ""}, 401),
        ({"api-key": "wrong", "Authorization": "Bearer token"}, 401),
        ({"Authorization": "Bearer token"}, 200),
    ],
)
def test_credentials(generate: Generate, headers: dict[str, str], status: int) -> None:
    assert generate(headers=headers).status_code == status


def test_a_bearer_token_is_enough_and_a_key_is_no_token(client: httpx.Client) -> None:
    del client.headers["api-key"]
    body = {"model": "mai", "prompt": "x"}
    path = "/east/mai/v1/images/generations"
    assert client.post(path, json=body).status_code == 401
    assert client.post(path, json=body, headers={"Authorization": "Bearer the-key"}).status_code == 401
    assert client.post(path, json=body, headers={"Authorization": "Bearer token"}).status_code == 200


def test_unknown_deployments_routes_and_upstreams_are_404(generate: Generate, client: httpx.Client) -> None:
    response = generate(model="nowhere")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "DeploymentNotFound"
    assert client.post("/east/mai/v1/images/variations", json={}).status_code == 404
    assert generate(upstream="north").status_code == 404


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"{not json", "application/json"), (b"[1]", "application/json"), (b"{}", "text/plain")],
)
def test_a_body_that_cannot_be_read_is_400(client: httpx.Client, content: bytes, kind: str) -> None:
    path = "/east/mai/v1/images/generations"
    response = client.post(path, content=content, headers={"Content-Type": kind})
    assert response.status_code == 400


def test_the_content_policy_refuses_with_its_own_code(generate: Generate) -> None:
    response = generate(prompt="some forbidden-content please")
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "content_policy_violation"
    assert error["inner_error"]["code"] == "ResponsibleAIPolicyViolation"


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_an_edit_takes_the_proportions_of_its_image(client: httpx.Client, name: str) -> None:
    response = edit(client, files=[("image", ("in", image_bytes(name), "application/octet-stream"))])
    assert response.status_code == 200, response.text
    image = decoded(response)
    assert image.format == "PNG"
    assert image.width / image.height == pytest.approx(1.5, rel=0.02)
    assert image.width * image.height <= 1_048_576
    pixel = (image.width // 2, image.height - 150)
    assert image.getpixel(pixel) == pytest.approx((0, 128, 128), abs=8)  # teal: the input is in the output


@pytest.mark.parametrize(
    ("data", "files", "named"),
    [
        ({}, [("image", ("in", image_bytes("WEBP"), "image/webp"))], "image"),
        ({}, [("image", ("in", b"text", "image/png"))], "image"),
        ({}, [("image", ("in", image_bytes("PNG")[:300], "image/png"))], "image"),
        ({}, [("image", ("a", image_bytes("PNG"))), ("image", ("b", image_bytes("PNG")))], "one image"),
        ({}, [("picture", ("a", image_bytes("PNG")))], "picture"),
        ({"width": "1024"}, None, "width"),
        ({"prompt": ""}, None, "prompt"),
    ],
)
def test_edits_that_the_document_refuses(
    client: httpx.Client, data: dict[str, Any], files: Any, named: str
) -> None:
    response = edit(client, data, files)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


def test_an_edit_as_json_and_an_edit_without_image_are_refused(client: httpx.Client) -> None:
    path = "/east/mai/v1/images/edits"
    assert client.post(path, json={"model": "mai", "prompt": "x"}).status_code == 400
    response = client.post(path, files=[("model", (None, "mai")), ("prompt", (None, "x"))])
    assert response.status_code == 400
    assert "image" in response.json()["error"]["message"]


def test_a_deployment_without_edits_refuses_them(client: httpx.Client) -> None:
    response = edit(client, {"model": "mai-2e"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "OperationNotSupported"
