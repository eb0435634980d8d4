"""The released `openai` package against a running stack: only the address and the key are our own."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import AzureOpenAI, DefaultHttpxClient, OpenAI

from tests.e2e.live import MODEL, LiveStack
from tests.e2e.openai_client import NAME, REFUSED, images_of, openai_client, opened, png

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def client(stack: LiveStack) -> Iterator[OpenAI]:
    """A client as a program would make it."""
    with openai_client(stack) as made:
        yield made


def test_an_image_is_generated(client: OpenAI) -> None:
    answer = client.images.generate(model=NAME, prompt="a lighthouse")
    (image,) = images_of(answer)
    assert (image.format, image.size) == ("PNG", (1024, 1024))
    assert (answer.size, answer.output_format, answer.quality) == ("1024x1024", "png", None)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens_details.image_tokens == 0
    named = answer._request_id  # pyright: ignore[reportPrivateUsage]  # public, as its docstring says
    assert named is not None
    assert named.startswith(MODEL)


def test_as_many_images_as_are_asked_for(client: OpenAI) -> None:
    assert len(images_of(client.images.generate(model=NAME, prompt="lighthouses", n=3))) == 3


@pytest.mark.parametrize("size", ["1024x1024", "1536x1024", "1024x1536", "768x1024", "auto"])
def test_an_image_has_the_size_that_is_asked_for(client: OpenAI, size: str) -> None:
    answer = client.images.generate(model=NAME, prompt="a lighthouse", size=size)
    (image,) = images_of(answer)
    assert f"{image.width}x{image.height}" == answer.size
    assert size in {answer.size, "auto"}


def test_format_quality_and_background_are_told(client: OpenAI) -> None:
    answer = client.images.generate(
        model=NAME, prompt="a lighthouse", output_format="webp", quality="high", background="opaque"
    )
    (image,) = images_of(answer)
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
        assert opened(event.b64_json).size == (1024, 1024)
        assert (event.size, event.output_format, event.background) == ("1024x1024", "png", "auto")
        assert event.usage.total_tokens == event.usage.input_tokens_details.text_tokens == 0


def test_a_refusal_in_a_stream_is_raised_with_its_code(client: OpenAI) -> None:
    stream = client.images.generate(model=NAME, prompt=REFUSED, stream=True)
    with stream, pytest.raises(openai.APIError) as raised:
        list(stream)
    assert (raised.value.code, raised.value.type) == ("moderation_blocked", "image_generation_user_error")


def test_one_image_is_edited(client: OpenAI) -> None:
    answer = client.images.edit(model=NAME, prompt="a red door", image=("house.png", png("red")))
    assert len(images_of(answer)) == 1


def test_several_images_are_edited_into_one(client: OpenAI) -> None:
    several = [("one.png", png("red")), ("two.png", png("blue"))]
    answer = client.images.edit(
        model=NAME, prompt="both", image=several, size="1024x1024", input_fidelity="high"
    )
    assert [image.size for image in images_of(answer)] == [(1024, 1024)]


def test_what_is_below_the_mask_is_edited(client: OpenAI) -> None:
    answer = client.images.edit(
        model=NAME,
        prompt="a red door",
        image=("house.png", png("red")),
        mask=("mask.png", png("black", hole=True)),
        n=2,
    )
    assert len(images_of(answer)) == 2


def test_an_edit_is_streamed(client: OpenAI) -> None:
    image = ("house.png", png("red"))
    with client.images.edit(model=NAME, prompt="a red door", image=image, stream=True) as stream:
        (event,) = list(stream)
    assert event.type == "image_edit.completed"
    assert opened(event.b64_json).format == "PNG"
    assert event.usage.output_tokens == 0


def test_models_are_listed_and_found_by_every_name(client: OpenAI) -> None:
    assert MODEL in {model.id for model in client.models.list()}
    for name in (MODEL, NAME, "microsoft/mai-image-2.5"):
        assert client.models.retrieve(name).id == MODEL
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("dall-e-3")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_azures_client_finds_the_model_in_its_path(stack: LiveStack) -> None:
    http = DefaultHttpxClient(trust_env=False)
    with AzureOpenAI(
        azure_endpoint=stack.url, api_version="2025-04-01-preview", api_key=stack.key, http_client=http
    ) as azure:
        answer = azure.images.generate(model=NAME, prompt="a lighthouse", size="1024x1024")
        assert [image.size for image in images_of(answer)] == [(1024, 1024)]
        edited = azure.images.edit(model=NAME, prompt="a door", image=("house.png", png("red")))
        assert len(images_of(edited)) == 1


def test_azures_newer_paths_are_openais(stack: LiveStack) -> None:
    base, query = f"{stack.url}/openai/v1", {"api-version": "preview"}
    with openai_client(stack, base_url=base, default_query=query) as newer:
        assert MODEL in {model.id for model in newer.models.list()}
        answer = newer.images.generate(model="microsoft/mai-image-2.5", prompt="a lighthouse")
        assert len(images_of(answer)) == 1
