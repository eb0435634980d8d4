"""OpenRouter: chat completions and responses."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from simulator.config import UpstreamConfig
from tests.simulator.conftest import KEY, data_url, one_model, opened

NAME = "microsoft/mai-image-2.5"
TEXT = {"type": "text", "text": "x"}

Ask = Callable[..., httpx.Response]


@pytest.fixture
def post(client: httpx.Client, put_upstream: Callable[[str, UpstreamConfig], None]) -> Ask:
    put_upstream("openrouter", one_model("openrouter", NAME, cost_usd="0.04"))

    def call(path: str, body: dict[str, Any], key: str = KEY) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "HTTP-Referer": "https://e.com", "X-Title": "t"}
        return client.post(f"/openrouter/api/v1/{path}", json=body, headers=headers)

    return call


@pytest.fixture
def chat(post: Ask) -> Ask:
    def call(content: Any = "a fox", key: str = KEY, **changes: Any) -> httpx.Response:
        messages = [{"role": "user", "content": content}]
        body = {"model": NAME, "messages": messages, "modalities": ["image", "text"], **changes}
        return post("chat/completions", body, key)

    return call


@pytest.fixture
def respond(post: Ask) -> Ask:
    def call(**changes: Any) -> httpx.Response:
        return post("responses", {"model": NAME, "input": "a fox", "modalities": ["image"], **changes})

    return call


def test_a_chat_answers_with_a_data_url_null_content_and_its_cost(chat: Ask) -> None:
    response = chat(image_config={"aspect_ratio": "21:9"}, max_tokens=5, temperature=0)
    body = response.json()
    message = body["choices"][0]["message"]
    assert message["content"] is None
    (image,) = message["images"]
    picture = opened(image["image_url"]["url"])
    assert picture.width / picture.height == pytest.approx(21 / 9, rel=0.02)
    assert body["usage"]["cost"] == 0.04


def test_an_image_part_makes_it_an_edit(chat: Ask, entries: Callable[..., Any]) -> None:
    parts = [{"type": "text", "text": "bluer"}, {"type": "image_url", "image_url": {"url": data_url()}}]
    response = chat(parts)
    image = opened(response.json()["choices"][0]["message"]["images"][0]["image_url"]["url"])
    assert image.width / image.height == pytest.approx(1.5, rel=0.02)
    (entry,) = entries()
    assert (entry["operation"], entry["prompt"]) == ("edit", "bluer")


def test_without_the_image_modality_there_is_only_text(chat: Ask) -> None:
    message = chat(modalities=["text"]).json()["choices"][0]["message"]
    assert message["content"]
    assert "images" not in message


def test_a_streamed_chat(chat: Ask) -> None:
    response = chat(stream=True)
    assert response.headers["content-type"] == "text/event-stream"
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    first, last = (json.loads(line) for line in lines[:-1])
    assert opened(first["choices"][0]["delta"]["images"][0]["image_url"]["url"]).size == (1024, 1024)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["cost"] == 0.04


def test_responses_hold_an_image_generation_call(respond: Ask) -> None:
    (item,) = respond().json()["output"]
    assert (item["type"], item["status"]) == ("image_generation_call", "completed")
    assert opened(item["result"]).format == "PNG"


def test_responses_with_parts_and_streamed(respond: Ask) -> None:
    parts = [{"type": "input_text", "text": "bluer"}, {"type": "input_image", "image_url": data_url()}]
    response = respond(input=[{"role": "user", "content": parts}], stream=True)
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events] == ["response.created", "response.completed"]
    assert opened(events[1]["response"]["output"][0]["result"]).width > 1024


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"content": ""}, "messages"),
        ({"content": "x" * 16_385}, "messages"),
        ({"content": [{"type": "image_url", "image_url": {"url": "ftp://x/a"}}, TEXT]}, "image_url"),
        ({"content": [{"type": "audio"}]}, "messages.0.content"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"modalities": ["video"]}, "modalities"),
        ({"image_config": {"aspect_ratio": "wide"}}, "aspect_ratio"),
        ({"image_config": {"aspect_ratio": "9:1"}}, "aspect_ratio"),
        ({"image_config": {"width": 5}}, "image_config.width"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"prompt": "x"}, "prompt"),
    ],
)
def test_what_is_not_documented_is_400_and_named(chat: Ask, changes: dict[str, Any], named: str) -> None:
    response = chat(**changes)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == 400
    assert named in error["message"]


def test_moderation_is_403_with_what_was_flagged(chat: Ask) -> None:
    response = chat("forbidden-content")
    assert response.status_code == 403
    error = response.json()["error"]
    assert error["code"] == 403
    assert error["metadata"]["reasons"]


def test_wrong_keys_and_models(chat: Ask) -> None:
    assert chat(key="x").json()["error"]["code"] == 401
    assert chat(model="other").status_code == 404


def test_nothing_usable(chat: Ask, arm: Callable[..., Any]) -> None:
    arm(kind="fewer_images", count=1)
    assert "images" not in chat().json()["choices"][0]["message"]
    arm(kind="truncated_base64", count=1)
    url = chat().json()["choices"][0]["message"]["images"][0]["image_url"]["url"]
    with pytest.raises(ValueError, match="base64"):
        opened(url)
    arm(kind="oversized", size_bytes=1_000_000, count=1)
    assert len(chat().content) == 1_000_000


@pytest.fixture
def images(post: Ask) -> Ask:
    def call(**changes: Any) -> httpx.Response:
        return post("images", {"model": NAME, "prompt": "a fox", **changes})

    return call


def test_the_images_endpoint_answers_with_base64_and_the_cost_of_all(images: Ask) -> None:
    body = images(n=3, size="640x320", output_format="webp", quality="high", seed=7).json()
    pictures = [opened(entry["b64_json"]) for entry in body["data"]]
    assert [(picture.format, picture.size) for picture in pictures] == [("WEBP", (640, 320))] * 3
    assert {entry["media_type"] for entry in body["data"]} == {"image/webp"}
    assert body["usage"]["cost"] == 0.12


def test_references_make_it_an_edit(images: Ask, entries: Callable[..., Any]) -> None:
    part = {"type": "image_url", "image_url": {"url": data_url()}}
    picture = opened(images(input_references=[part, part]).json()["data"][0]["b64_json"])
    assert picture.width / picture.height == pytest.approx(1.5, rel=0.02)
    (entry,) = entries()
    assert (entry["operation"], entry["prompt"]) == ("edit", "a fox")


def test_streamed_images_are_an_event_each_and_the_last_has_the_usage(images: Ask) -> None:
    response = images(n=2, resolution="512", stream=True)
    told = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert told.pop() == "[DONE]"
    first, last = map(json.loads, told)
    assert first["type"] == last["type"] == "image_generation.completed"
    assert opened(last["b64_json"]).size == (512, 512)
    assert "usage" not in first
    assert last["usage"]["cost"] == 0.08


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n": 11}, "n"),
        ({"prompt": ""}, "prompt"),
        ({"size": "wide"}, "size"),
        ({"size": "1024x1024", "aspect_ratio": "1:1"}, "aspect_ratio"),
        ({"resolution": "2K", "size": "2K"}, "resolution"),
        ({"quality": "hd"}, "quality"),
        ({"output_format": "gif"}, "output_format"),
        (
            {"input_references": [{"type": "image_url", "image_url": {"url": "data:,x"}}]},
            "input_references.0",
        ),
        ({"messages": []}, "messages"),
    ],
)
def test_what_the_images_endpoint_does_not_have_is_400_and_named(
    images: Ask, changes: dict[str, Any], named: str
) -> None:
    response = images(**changes)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]
