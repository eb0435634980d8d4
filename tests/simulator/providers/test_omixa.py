"""Omixa as its document has it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from simulator.config import UpstreamConfig
from tests.simulator.conftest import KEY, data_url, one_model, opened

NAME = "MAI-Image-2.5"

Ask = Callable[..., httpx.Response]


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.fixture
def ask(client: httpx.Client, put_upstream: Callable[[str, UpstreamConfig], None]) -> Ask:
    put_upstream("omixa", one_model("omixa", NAME, max_images=8))

    def call(key: str = KEY, **changes: Any) -> httpx.Response:
        body = {"model": NAME, "prompt": "a fox", **changes}
        headers = {"Authorization": f"Bearer {key}"}
        return client.post("/omixa/api/v1/images/generations", json=body, headers=headers)

    return call


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_images_come_in_number_size_and_format_as_asked(ask: Ask, form: str) -> None:
    response = ask(n=2, size="1024x1536", output_format=form)
    assert response.status_code == 200
    assert response.json()["usage"] == {"billed_amount": "0.078000"}
    images = [opened(item["b64_json"]) for item in response.json()["data"]]
    assert [(image.format, image.size) for image in images] == [(form.upper(), (1024, 1536))] * 2
    assert images[0].tobytes() != images[1].tobytes()
    assert [item["url"] for item in response.json()["data"]] == [None, None]


def test_more_than_the_provider_gives_is_cut_silently(ask: Ask) -> None:
    response = ask(n=10)
    assert len(response.json()["data"]) == 8
    assert response.json()["usage"] == {"billed_amount": "0.312000"}


def test_the_example_of_the_document_is_an_edit(ask: Ask, entries: Callable[..., Any]) -> None:
    response = ask(
        n=1,
        output_format="png",
        size="auto",
        quality="auto",
        background="auto",
        input_images=[part(data_url())],
        mask=data_url(),
    )
    assert response.status_code == 200, response.text
    image = opened(response.json()["data"][0]["b64_json"])
    assert image.width / image.height == pytest.approx(1.5, rel=0.02)
    assert entries()[-1]["operation"] == "edit"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"size": "512x512"}, "size"),
        ({"output_format": "gif"}, "output_format"),
        ({"quality": "hd"}, "quality"),
        ({"background": "none"}, "background"),
        ({"moderation": "high"}, "moderation"),
        ({"input_fidelity": "medium"}, "input_fidelity"),
        ({"stream": True}, "stream"),
        ({"input_images": [part("https://example.com/a.png")]}, "input_images.0"),
        ({"input_images": [part("data:image/png;base64,!!!")]}, "input_images.0"),
        ({"input_images": [part("data:image/png;base64,aGFsbG8=")]}, "input_images.0"),
        ({"input_images": ["x"]}, "input_images.0"),
        ({"mask": data_url()}, "mask"),
        ({"prompt": ""}, "prompt"),
    ],
)
def test_what_the_document_refuses_is_400_and_named(ask: Ask, changes: dict[str, Any], named: str) -> None:
    response = ask(**changes)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == named


def test_wrong_keys_models_policy_and_a_full_quota(
    ask: Ask, put_upstream: Callable[[str, UpstreamConfig], None]
) -> None:
    assert ask(key="wrong").status_code == 401
    assert ask(model="other").status_code == 404
    assert ask(prompt="forbidden-content").json()["error"]["code"] == "content_policy_violation"
    put_upstream("omixa", one_model("omixa", NAME, rpm=0))
    response = ask()
    assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_one_image_less_than_asked(ask: Ask, arm: Callable[..., Any]) -> None:
    arm(kind="fewer_images", count=1)
    assert len(ask(n=3).json()["data"]) == 2


def test_an_injected_status_speaks_as_the_provider_does(ask: Ask, arm: Callable[..., Any]) -> None:
    arm(kind="status", status=502, count=1)
    error = ask().json()["error"]
    assert (error["code"], error["type"]) == ("bad_gateway", "server_error")
