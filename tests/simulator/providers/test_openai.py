"""The plain OpenAI images provider."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from simulator.config import UpstreamConfig
from tests.simulator.conftest import KEY, image_bytes, one_model, opened

NAME = "gpt-image-2"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(autouse=True)
def upstream(client: httpx.Client, put_upstream: Callable[[str, UpstreamConfig], None]) -> None:
    put_upstream("openai", one_model("openai", NAME))


def generation(client: httpx.Client, **changes: Any) -> httpx.Response:
    body = {"model": NAME, "prompt": "a fox", **changes}
    return client.post("/openai/v1/images/generations", json=body, headers=HEADERS)


def edit(client: httpx.Client, files: Any, **changes: str) -> httpx.Response:
    data = {"model": NAME, "prompt": "a fox", **changes}
    return client.post("/openai/v1/images/edits", data=data, files=files, headers=HEADERS)


def test_a_generation(client: httpx.Client) -> None:
    response = generation(client, n=2, size="1536x1024", output_format="webp", quality="high")
    images = [opened(item["b64_json"]) for item in response.json()["data"]]
    assert [(image.format, image.size) for image in images] == [("WEBP", (1536, 1024))] * 2


def test_an_edit_takes_one_or_several_images_and_numbers_as_text(client: httpx.Client) -> None:
    one = edit(client, [("image", image_bytes())], n="2")
    assert len(one.json()["data"]) == 2
    several = edit(
        client, [("image[]", image_bytes()), ("image[]", image_bytes("JPEG")), ("mask", image_bytes())]
    )
    assert several.status_code == 200, several.text


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"n": 11}, "n"), ({"size": "1x1"}, "size"), ({"stream": True}, "stream"), ({"n": "1"}, "n")],
)
def test_refused_generations(client: httpx.Client, changes: dict[str, Any], named: str) -> None:
    response = generation(client, **changes)
    assert (response.status_code, response.json()["error"]["param"]) == (400, named)


@pytest.mark.parametrize(
    ("files", "changes", "named"),
    [
        ([("mask", image_bytes())], {}, "image"),
        ([("image", image_bytes()), ("mask", image_bytes("JPEG"))], {}, "mask"),
        ([("image", image_bytes()), ("other", image_bytes())], {}, "other"),
        ([("image", image_bytes())], {"n": "many"}, "n"),
        ([("image", image_bytes())], {"moderation": "low"}, "moderation"),
    ],
)
def test_refused_edits(client: httpx.Client, files: Any, changes: dict[str, str], named: str) -> None:
    response = edit(client, files, **changes)
    assert (response.status_code, response.json()["error"]["param"]) == (400, named)


def test_policy_key_and_model(client: httpx.Client) -> None:
    assert generation(client, prompt="forbidden-content").json()["error"]["code"] == "moderation_blocked"
    assert generation(client, model="x").status_code == 404
    body = {"model": NAME, "prompt": "x"}
    assert client.post("/openai/v1/images/generations", json=body).status_code == 401
