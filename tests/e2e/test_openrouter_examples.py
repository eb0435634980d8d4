"""The clients of the OpenRouter document, in Python, JavaScript and cURL: only host and key are their own.

The document describes its requests in tables: the two endpoints, the headers, `modalities`, and `stream`. The
newer images endpoint is asked in the same three ways.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, AuthenticationError, BadRequestError, OpenAI
from openai.types.responses.response_output_item import ImageGenerationCall
from PIL import Image

from tests.e2e.live import LiveStack
from tests.e2e.test_examples import node, require
from tests.media.pictures import picture

pytestmark = pytest.mark.long

MODEL = "microsoft/mai-image-2.5"
PROMPT = "A lighthouse at dusk"
CHAT: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": PROMPT}],
    "modalities": ["image", "text"],
}
RESPONSE: dict[str, Any] = {"model": MODEL, "input": PROMPT, "modalities": ["image", "text"]}
IMAGES: dict[str, Any] = {"model": MODEL, "prompt": PROMPT, "n": 2, "aspect_ratio": "16:9"}
REQUESTS = {"chat/completions": CHAT, "responses": RESPONSE, "images": IMAGES}

PYTHON = """
import requests

response = requests.post(
    "{url}",
    headers={{
        "Authorization": "Bearer {key}",
        "Content-Type": "application/json",
        "HTTP-Referer": "https://shop.example.com",
        "X-Title": "The shop",
    }},
    json={python_body},
)
print(response.text)
"""
JAVASCRIPT = """
const response = await fetch("{url}", {{
  method: "POST",
  headers: {{
    Authorization: "Bearer {key}",
    "Content-Type": "application/json",
    "HTTP-Referer": "https://shop.example.com",
    "X-Title": "The shop",
  }},
  body: JSON.stringify({body}),
}});
console.log(await response.text());
"""


def _program(kind: str, url: str, key: str, body: dict[str, Any], directory: Path) -> list[str]:
    if kind == "curl":
        headers = ("Content-Type: application/json", f"Authorization: Bearer {key}", "X-Title: The shop")
        flags = [flag for header in headers for flag in ("-H", header)]
        return ["curl", "-s", "-N", url, *flags, "-d", json.dumps(body)]
    text, name = (PYTHON, "example.py") if kind == "python" else (JAVASCRIPT, "example.mjs")
    program = directory / name
    program.write_text(text.format(url=url, key=key, body=json.dumps(body), python_body=repr(body)))
    return [sys.executable if kind == "python" else node(), str(program)]


def _answer(kind: str, stack: LiveStack, path: str, body: dict[str, Any], directory: Path) -> str:
    require({"python": sys.executable, "js": node(), "curl": "curl"}[kind])
    command = _program(kind, f"{stack.url}/api/v1/{path}", stack.key, body, directory)
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def _events(text: str) -> Iterator[Any]:
    told = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert told[-1] == "[DONE]"
    return map(json.loads, told[:-1])


def _images(path: str, body: dict[str, Any]) -> list[str]:
    """The base64 of the images of an answer."""
    if path == "images":
        return [entry["b64_json"] for entry in body["data"]]
    if path == "responses":
        return [item["result"] for item in body["output"]]
    (choice,) = body["choices"]
    return [image["image_url"]["url"].partition(",")[2] for image in choice["message"]["images"]]


def _check_images(images: list[str], path: str) -> None:
    assert len(images) == REQUESTS[path].get("n", 1)
    for text in images:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            assert image.format == "PNG"
            assert image.width >= image.height


KINDS = pytest.mark.parametrize("kind", ["python", "js", "curl"])


@KINDS
@pytest.mark.parametrize("path", REQUESTS)
def test_an_example_of_the_document_works_as_it_stands(
    kind: str, path: str, stack: LiveStack, tmp_path: Path
) -> None:
    body = json.loads(_answer(kind, stack, path, REQUESTS[path], tmp_path))
    _check_images(_images(path, body), path)
    assert body["usage"]["cost"] == pytest.approx(0.039 * REQUESTS[path].get("n", 1))


@KINDS
def test_a_streamed_chat_ends_with_the_images_the_usage_and_done(
    kind: str, stack: LiveStack, tmp_path: Path
) -> None:
    text = _answer(kind, stack, "chat/completions", CHAT | {"stream": True}, tmp_path)
    images, end = _events(text)
    (choice,) = images["choices"]
    _check_images(
        [one["image_url"]["url"].partition(",")[2] for one in choice["delta"]["images"]], "chat/completions"
    )
    assert (choice["finish_reason"], end["choices"][0]["finish_reason"]) == (None, "stop")
    assert end["usage"]["cost"] == 0.039
    assert (images["id"], images["object"]) == (end["id"], "chat.completion.chunk")


@KINDS
def test_a_streamed_response_ends_with_the_whole_response(
    kind: str, stack: LiveStack, tmp_path: Path
) -> None:
    told = list(_events(_answer(kind, stack, "responses", RESPONSE | {"stream": True}, tmp_path)))
    assert [event["sequence_number"] for event in told] == [0, 1, 2, 3]
    assert (told[0]["type"], told[-1]["type"]) == ("response.created", "response.completed")
    _check_images(_images("responses", told[-1]["response"]), "responses")


@KINDS
def test_streamed_images_are_an_event_each(kind: str, stack: LiveStack, tmp_path: Path) -> None:
    told = list(_events(_answer(kind, stack, "images", IMAGES | {"stream": True}, tmp_path)))
    assert {event["type"] for event in told} == {"image_generation.completed"}
    _check_images([event["b64_json"] for event in told], "images")
    assert told[-1]["usage"]["cost"] == pytest.approx(0.078)


def _posted(stack: LiveStack, path: str, body: dict[str, Any]) -> Any:
    answer = stack.client.post(f"/api/v1/{path}", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_image_in_the_conversation_is_edited(stack: LiveStack) -> None:
    """Also the one of the answer before, which the client sends back as it came."""
    sent = f"data:image/jpeg;base64,{base64.b64encode(picture('jpeg', size=(900, 300))).decode()}"
    text = {"type": "text", "text": "Make it bluer"}
    parts = [text, {"type": "image_url", "image_url": {"url": sent}}]
    first = _posted(stack, "chat/completions", CHAT | {"messages": [{"role": "user", "content": parts}]})
    assert first["id"].startswith("microsoft-mai-image-2-5-edit_")
    (choice,) = first["choices"]
    again = [*CHAT["messages"], choice["message"], {"role": "user", "content": "And warmer"}]
    second = _posted(stack, "chat/completions", CHAT | {"messages": again})
    assert second["id"].startswith("microsoft-mai-image-2-5-edit_")
    items = [{"role": "user", "content": "Make it bluer"}, *_posted(stack, "responses", RESPONSE)["output"]]
    assert _posted(stack, "responses", RESPONSE | {"input": items})["id"].startswith(
        "microsoft-mai-image-2-5-edit_"
    )
    references = [{"type": "image_url", "image_url": {"url": sent}}]
    edited = _posted(stack, "images", {"model": MODEL, "prompt": "Bluer", "input_references": references})
    assert len(edited["data"]) == 1


def test_the_models_are_listed_with_names_that_can_be_asked_for(stack: LiveStack) -> None:
    for path in ("models", "images/models"):
        listed = stack.client.get(f"/api/v1/{path}").json()["data"]
        assert MODEL in [model["id"] for model in listed]
        assert all(model["supported_parameters"] and model["pricing"] for model in listed)


def test_every_error_below_the_prefix_has_the_envelope(stack: LiveStack) -> None:
    asked = {
        401: stack.client.post("/api/v1/chat/completions", json=CHAT, headers={"api-key": "wrong"}),
        400: stack.client.post("/api/v1/images", json=IMAGES | {"n": 11}),
        404: stack.client.post("/api/v1/completions", json=CHAT),
        405: stack.client.get("/api/v1/responses"),
        415: stack.client.post("/api/v1/responses", data={"model": MODEL}),
    }
    for status, answer in asked.items():
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == status
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", REQUESTS)
def test_a_prompt_against_the_content_policy_is_told_also_in_a_stream(path: str, stack: LiveStack) -> None:
    field = {"chat/completions": "messages", "responses": "input", "images": "prompt"}[path]
    said: Any = "forbidden-content"
    if path == "chat/completions":
        said = [{"role": "user", "content": said}]
    body = REQUESTS[path] | {field: said}
    answer = stack.client.post(f"/api/v1/{path}", json=body, timeout=120)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)
    streamed = stack.client.post(f"/api/v1/{path}", json=body | {"stream": True}, timeout=120)
    assert streamed.status_code == 200
    assert "content policy" in answer.json()["error"]["message"]
    assert "content policy" in repr(list(_events(streamed.text))[-1])


def test_a_client_that_does_not_want_to_wait_gets_where_to_poll(stack: LiveStack) -> None:
    answer = stack.client.post("/api/v1/chat/completions", json=CHAT, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    request_id = answer.json()["request_id"]
    assert stack.statuses([request_id]) == ["COMPLETED"]
    assert stack.client.get(answer.json()["polling_url"]).json()["output"]["media_type"] == "image/png"


@pytest.fixture
def openai(stack: LiveStack) -> Iterator[OpenAI]:
    """The `openai` package as it is used with OpenRouter: another base URL."""
    with OpenAI(base_url=f"{stack.url}/api/v1", api_key=stack.key) as client:
        yield client


def test_the_openai_package_chats(openai: OpenAI) -> None:
    told: list[Any] = [{"role": "user", "content": PROMPT}]
    more = {"modalities": ["image", "text"]}
    whole = openai.chat.completions.create(model=MODEL, messages=told, extra_body=more)
    _check_images(_images("chat/completions", whole.model_dump()), "chat/completions")
    assert whole.usage is not None
    chunks = list(openai.chat.completions.create(model=MODEL, messages=told, extra_body=more, stream=True))
    urls = [
        image["image_url"]["url"]
        for chunk in chunks
        for image in chunk.choices[0].delta.model_dump().get("images", [])
    ]
    _check_images([url.partition(",")[2] for url in urls], "chat/completions")
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_openai_package_asks_for_a_response(openai: OpenAI) -> None:
    whole = openai.responses.create(model=MODEL, input=PROMPT)
    (item,) = whole.output
    assert isinstance(item, ImageGenerationCall)
    assert item.result
    _check_images([item.result], "responses")
    with openai.responses.stream(model=MODEL, input=PROMPT) as stream:
        assert [event.type for event in stream][-1] == "response.completed"
        (last,) = stream.get_final_response().output
    assert last.type == "image_generation_call"


def test_the_openai_package_raises_its_own_errors(openai: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="content policy"):
        openai.responses.create(model=MODEL, input="forbidden-content")
    told: list[Any] = [{"role": "user", "content": "forbidden-content"}]
    with pytest.raises(APIError, match="content policy"):
        list(openai.chat.completions.create(model=MODEL, messages=told, stream=True))
    with pytest.raises(AuthenticationError):
        openai.with_options(api_key="iq_wrong").models.list()
    assert MODEL in [model.id for model in openai.models.list()]
