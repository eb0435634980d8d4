"""The released `openai` package against a running stack: only the address and the key are our own."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai import AzureOpenAI, DefaultHttpxClient, OpenAI
from openai.types import Image as ImageEntry
from openai.types import ImagesResponse
from PIL import Image

from tests.e2e.live import MODEL, ROOT, LiveStack

pytestmark = pytest.mark.long

NAME = "MAI-Image-2.5"
PRICE = 0.039
REFUSED = "forbidden-content"
"""A prompt with this word is refused by every upstream of the simulator."""


class Line(httpx2.HTTPTransport):
    """The way to the server: counts requests, and loses the first answers after they have been sent."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.lost, self.retry_counts = lost, list[str]()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.retry_counts.append(request.headers["x-stainless-retry-count"])
        answer = super().handle_request(request)
        if len(self.retry_counts) <= self.lost:
            answer.close()
            raise httpx2.ReadError("the connection broke", request=request)
        return answer


@pytest.fixture(scope="module")
def client(stack: LiveStack) -> Iterator[OpenAI]:
    """A client as a program would make it."""
    with _client(stack) as made:
        yield made


def _client(stack: LiveStack, line: Line | None = None, **more: Any) -> OpenAI:
    http = DefaultHttpxClient(trust_env=False, transport=line)
    given: dict[str, Any] = {"base_url": f"{stack.url}/v1", "api_key": stack.key, "http_client": http}
    return OpenAI(**given | more)


def _image(entry: ImageEntry) -> Image.Image:
    """The image of an entry that has base64 and nothing else."""
    assert entry.b64_json is not None
    assert entry.url is None
    return _opened(entry.b64_json)


def _opened(encoded: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
    image.load()
    return image


def _images(answer: ImagesResponse) -> list[Image.Image]:
    assert answer.data is not None
    return [_image(entry) for entry in answer.data]


def _png(colour: str, *, hole: bool = False) -> bytes:
    """A picture; with a hole it is a mask, whose transparent quarter is to be edited."""
    picture = Image.new("RGBA", (256, 256), colour)
    if hole:
        picture.paste((0, 0, 0, 0), (0, 0, 128, 128))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_an_image_is_generated(client: OpenAI) -> None:
    answer = client.images.generate(model=NAME, prompt="a lighthouse")
    (image,) = _images(answer)
    assert (image.format, image.size) == ("PNG", (1024, 1024))
    assert (answer.size, answer.output_format, answer.quality) == ("1024x1024", "png", None)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens_details.image_tokens == 0
    named = answer._request_id  # pyright: ignore[reportPrivateUsage]  # public, as its docstring says
    assert named is not None
    assert named.startswith(MODEL)


def test_as_many_images_as_are_asked_for(client: OpenAI) -> None:
    assert len(_images(client.images.generate(model=NAME, prompt="lighthouses", n=3))) == 3


@pytest.mark.parametrize("size", ["1024x1024", "1536x1024", "1024x1536", "768x1024", "auto"])
def test_an_image_has_the_size_that_is_asked_for(client: OpenAI, size: str) -> None:
    answer = client.images.generate(model=NAME, prompt="a lighthouse", size=size)
    (image,) = _images(answer)
    assert f"{image.width}x{image.height}" == answer.size
    assert size in {answer.size, "auto"}


def test_format_quality_and_background_are_told(client: OpenAI) -> None:
    answer = client.images.generate(
        model=NAME, prompt="a lighthouse", output_format="webp", quality="high", background="opaque"
    )
    (image,) = _images(answer)
    assert image.format == "WEBP"
    assert (answer.output_format, answer.quality, answer.background) == ("webp", "high", "opaque")


def test_who_asks_for_a_url_gets_a_url_alone(client: OpenAI, stack: LiveStack) -> None:
    answer = client.images.generate(model=NAME, prompt="a lighthouse", response_format="url")
    assert answer.data is not None
    (entry,) = answer.data
    assert (entry.b64_json, "b64_json" in entry.model_fields_set) == (None, False)
    assert entry.url is not None
    assert stack.client.get(entry.url).headers["content-type"] == "image/png"


def test_images_are_streamed_with_their_usage(client: OpenAI) -> None:
    stream = client.images.generate(model=NAME, prompt="lighthouses", n=2, stream=True, partial_images=2)
    with stream:
        events = list(stream)
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    for event in events:
        assert event.type == "image_generation.completed"
        assert _opened(event.b64_json).size == (1024, 1024)
        assert (event.size, event.output_format, event.background) == ("1024x1024", "png", "auto")
        assert event.usage.total_tokens == event.usage.input_tokens_details.text_tokens == 0


def test_a_refusal_in_a_stream_is_raised_with_its_code(client: OpenAI) -> None:
    stream = client.images.generate(model=NAME, prompt=REFUSED, stream=True)
    with stream, pytest.raises(openai.APIError) as raised:
        list(stream)
    assert (raised.value.code, raised.value.type) == ("moderation_blocked", "image_generation_user_error")


def test_one_image_is_edited(client: OpenAI) -> None:
    answer = client.images.edit(model=NAME, prompt="a red door", image=("house.png", _png("red")))
    assert len(_images(answer)) == 1


def test_several_images_are_edited_into_one(client: OpenAI) -> None:
    several = [("one.png", _png("red")), ("two.png", _png("blue"))]
    answer = client.images.edit(
        model=NAME, prompt="both", image=several, size="1024x1024", input_fidelity="high"
    )
    assert [image.size for image in _images(answer)] == [(1024, 1024)]


def test_what_is_below_the_mask_is_edited(client: OpenAI) -> None:
    answer = client.images.edit(
        model=NAME,
        prompt="a red door",
        image=("house.png", _png("red")),
        mask=("mask.png", _png("black", hole=True)),
        n=2,
    )
    assert len(_images(answer)) == 2


def test_an_edit_is_streamed(client: OpenAI) -> None:
    image = ("house.png", _png("red"))
    with client.images.edit(model=NAME, prompt="a red door", image=image, stream=True) as stream:
        (event,) = list(stream)
    assert event.type == "image_edit.completed"
    assert _opened(event.b64_json).format == "PNG"
    assert event.usage.output_tokens == 0


def test_models_are_listed_and_found_by_every_name(client: OpenAI) -> None:
    assert MODEL in {model.id for model in client.models.list()}
    for name in (MODEL, NAME, "microsoft/mai-image-2.5"):
        assert client.models.retrieve(name).id == MODEL
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("dall-e-3")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"n": 11}, "n", "invalid_value"),
        ({"n": "1"}, "n", "invalid_value"),
        ({"size": "nullxnull"}, "size", "invalid_value"),
        ({"output_format": "gif", "frame_count": 4}, "frame_count", "invalid_value"),
        ({"output_format": "svg"}, "output_format", "invalid_value"),
        ({"extra_body": {"sise": "auto"}}, "sise", "unknown_parameter"),
        ({"model": "dall-e-3"}, "model", "model_not_found"),
        ({"prompt": REFUSED}, None, "moderation_blocked"),
    ],
)
def test_a_wrong_request_is_a_bad_request_that_names_its_field(
    client: OpenAI, fields: dict[str, Any], param: str | None, code: str
) -> None:
    given: dict[str, Any] = {"model": NAME, "prompt": "a lighthouse"}
    with pytest.raises(openai.BadRequestError) as raised:
        client.images.generate(**given | fields)
    assert (raised.value.param, raised.value.code) == (param, code)
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_a_file_that_is_no_image_is_a_bad_request(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.images.edit(model=NAME, prompt="a red door", image=("house.png", b"just text"))
    assert raised.value.param == "image"


def _keys(stack: LiveStack, *words: str) -> str:
    """What `imagequeue keys ...` prints on the running stack."""
    own = json.loads((stack.directory / "stack.json").read_text())["env"]
    command = [sys.executable, "-m", "cli", "keys", *words]
    done = subprocess.run(
        command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_keys_that_may_not_ask_are_told_so_by_the_classes_that_the_package_has(stack: LiveStack) -> None:
    with _client(stack, api_key="iq_wrong") as wrong, pytest.raises(openai.AuthenticationError) as unknown:
        wrong.models.list()
    assert unknown.value.code == "invalid_api_key"
    made = json.loads(_keys(stack, "create", "poor", "--funds", "0", "--rpm", "1", "--json"))
    with _client(stack, api_key=made["key"], max_retries=0) as poor:
        with pytest.raises(openai.APIStatusError) as broke:
            poor.images.generate(model=NAME, prompt="a lighthouse")
        assert (broke.value.status_code, broke.value.code) == (402, "insufficient_quota")
        with pytest.raises(openai.RateLimitError) as limited:
            poor.images.generate(model=NAME, prompt="a lighthouse")
        assert limited.value.code == "rate_limit_exceeded"
        assert int(limited.value.response.headers["retry-after"]) >= 1
    made = json.loads(_keys(stack, "create", "gone", "--json"))
    _keys(stack, "revoke", made["id"])
    with _client(stack, api_key=made["key"]) as gone, pytest.raises(openai.PermissionDeniedError) as revoked:
        gone.models.list()
    assert revoked.value.code == "invalid_api_key"


def _slow(stack: LiveStack, prompt: str, seconds: float) -> None:
    """Let the next call with this prompt take longer than its client waits."""
    catalog = (stack.directory / "simulator.toml").read_text()
    (origin,) = set(re.findall(r'endpoint = "(http://[^/]+)/', catalog))
    fault = {"kind": "delay", "seconds": seconds, "match": {"prompt_contains": prompt}, "count": 1}
    httpx2.post(f"{origin}/_sim/faults", json=fault, trust_env=False).raise_for_status()


def test_a_client_that_gives_up_waiting_joins_its_job_again(stack: LiveStack) -> None:
    line, before = Line(), float(stack.wallet()["spent"])
    _slow(stack, "a slow lighthouse", 3)
    with _client(stack, line, timeout=1, max_retries=20) as hasty:
        answer = hasty.images.generate(model=NAME, prompt="a slow lighthouse")
    assert len(_images(answer)) == 1
    assert line.retry_counts[:2] == ["0", "1"]
    assert round(float(stack.wallet()["spent"]) - before, 6) == PRICE


def test_a_repeat_after_a_lost_answer_joins_the_job_and_is_not_charged(stack: LiveStack) -> None:
    line, before = Line(lost=2), float(stack.wallet()["spent"])
    with _client(stack, line) as careful:
        answer = careful.images.generate(model=NAME, prompt="a lighthouse that is asked for thrice")
    assert len(_images(answer)) == 1
    assert line.retry_counts == ["0", "1", "2"]
    wallet = stack.wallet()
    assert (round(float(wallet["spent"]) - before, 6), wallet["held"]) == (PRICE, "0")


def test_a_job_that_ended_without_images_is_not_asked_for_again(stack: LiveStack) -> None:
    line = Line()
    _slow(stack, "too late", 10)
    with _client(stack, line) as hurried, pytest.raises(openai.InternalServerError) as raised:
        hurried.images.generate(model=NAME, prompt="too late", extra_headers={"X-Finish-By": "4"})
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_error")
    assert line.retry_counts == ["0"]


def test_azures_client_finds_the_model_in_its_path(stack: LiveStack) -> None:
    http = DefaultHttpxClient(trust_env=False)
    with AzureOpenAI(
        azure_endpoint=stack.url, api_version="2025-04-01-preview", api_key=stack.key, http_client=http
    ) as azure:
        answer = azure.images.generate(model=NAME, prompt="a lighthouse", size="1024x1024")
        assert [image.size for image in _images(answer)] == [(1024, 1024)]
        edited = azure.images.edit(model=NAME, prompt="a door", image=("house.png", _png("red")))
        assert len(_images(edited)) == 1


def test_azures_newer_paths_are_openais(stack: LiveStack) -> None:
    base, query = f"{stack.url}/openai/v1", {"api-version": "preview"}
    with _client(stack, base_url=base, default_query=query) as newer:
        assert MODEL in {model.id for model in newer.models.list()}
        answer = newer.images.generate(model="microsoft/mai-image-2.5", prompt="a lighthouse")
        assert len(_images(answer)) == 1
