"""OpenRouter: `api = "images"` against the rules of the images endpoint, and the modalities of chats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from imagequeue.domain.images import Requirement, Shape
from imagequeue.domain.upstream import Rejected
from imagequeue.egress import deadline_transport
from imagequeue.providers.provider import Call
from imagequeue.providers.registry import PROVIDERS
from simulator.config import ModelConfig, SimulatorConfig, UpstreamConfig
from tests.providers.attempts import KEY, Attempts
from tests.providers.deployments import deployment
from tests.providers.document import QUALITIES, TEN, Document, check_image_parts
from tests.providers.matrix import (
    OPTIONS,
    SIZES,
    Ask,
    calls_of,
    every_ask,
    input_image,
    pairwise,
    requirement_of,
)
from tests.servers import SimulatorThread

PROVIDER = PROVIDERS["openrouter"]
IMAGES = deployment("openrouter", api="images")


def _check(request: httpx.Request, call: Call) -> None:
    assert request.url.path == "/api/v1/images"
    assert request.headers["authorization"] == "Bearer secret"
    fields = json.loads(request.content)
    shapes = {"aspect_ratio", "size"}
    known = {"model", "prompt", "n", "quality", "background", "output_format", "input_references"}
    assert fields.keys() <= known | shapes
    assert (fields["model"], fields["prompt"]) == ("microsoft/mai-image-2.5", call.prompt)
    assert fields.get("n", 1) == call.image_count <= 10
    named = [fields[name] for name in shapes if name in fields]
    assert named == ([] if str(call.shape) == "auto" else [str(call.shape)])
    assert fields.get("output_format", "png") == call.output_format
    assert fields.get("quality", "auto") in QUALITIES
    assert fields.get("background", "auto") in {"auto", "transparent", "opaque"}
    check_image_parts(fields.get("input_references", []), call)


SHAPES = {"auto", *TEN, *SIZES}
ENDPOINT = Document(
    upstream_model="microsoft/mai-image-2.5",
    shapes={"generate": SHAPES, "edit": SHAPES},
    images_per_call=10,
    most_inputs=99,
    prompts=(1, 5_000),
    check=_check,
)


def _asks() -> list[Ask]:
    return [ask for ask in every_ask() if ask[1] == "openrouter"]


def test_the_whole_matrix_is_built_as_the_images_endpoint_has_it() -> None:
    for ask in _asks():
        requirement = requirement_of(ask)
        assert (PROVIDER.refusal(requirement, IMAGES) is None) is ENDPOINT.serves(requirement), ask
        for call in calls_of(ask, PROVIDER.images_per_call(requirement, IMAGES)):
            _check(PROVIDER.build(call, IMAGES, "secret"), call)


def test_inputs_masks_and_prompts_are_refused_as_in_a_chat() -> None:
    for inputs, has_mask, limit in ((0, True, 4_000), (1, True, 4_000), (2, False, 32_000), (16, False, 2)):
        requirement = Requirement(operation="edit", input_count=inputs, has_mask=has_mask, prompt_limit=limit)
        refused = PROVIDER.refusal(requirement, IMAGES)
        assert refused == PROVIDER.refusal(requirement, deployment("openrouter"))
        assert (refused is None) is ENDPOINT.serves(requirement)


def test_a_deployment_without_the_key_uses_the_chat() -> None:
    sized = Requirement(shape=Shape(size=(1024, 1024)))
    for place in (deployment("openrouter"), deployment("openrouter", api="chat")):
        assert PROVIDER.build(Call("A lamp"), place, "secret").url.path == "/api/v1/chat/completions"
        assert PROVIDER.images_per_call(Requirement(image_count=10), place) == 1
        assert "aspect ratios" in (PROVIDER.refusal(sized, place) or "")
    assert PROVIDER.images_per_call(Requirement(image_count=10), IMAGES) == 10


def test_a_chat_asks_for_the_modalities_of_the_catalog() -> None:
    alone = deployment("openrouter", modalities=["image"])
    assert _sent(Call("A lamp"), alone)["modalities"] == ["image"]
    assert _sent(Call("A lamp"), deployment("openrouter"))["modalities"] == ["image", "text"]


@pytest.mark.parametrize("field", ["quality", "background", "output_format"])
def test_a_field_that_the_catalog_says_is_refused_is_not_sent(field: str) -> None:
    call = Call("A lamp", output_format="webp", options=OPTIONS)
    refusing = deployment("openrouter", api="images", refused_fields=[field])
    assert _sent(call, IMAGES).keys() - _sent(call, refusing).keys() == {field}


def _sent(call: Call, place: Any) -> dict[str, Any]:
    return json.loads(PROVIDER.build(call, place, "secret").content)


@pytest.fixture(scope="module")
def attempts() -> Iterator[Attempts]:
    model = ModelConfig.model_validate({"rpm": 100_000, "latency_ms": (0, 0), "cost_usd": "0.05"})
    upstream = UpstreamConfig(provider="openrouter", keys=(KEY,), models={IMAGES.upstream_model: model})
    with (
        SimulatorThread(SimulatorConfig(upstreams={"openrouter": upstream})) as server,
        httpx.Client(transport=deadline_transport()) as client,
    ):
        yield Attempts(server, client)


@pytest.mark.parametrize("ask", pairwise(_asks()), ids=lambda ask: "-".join(map(str, ask)))
def test_the_pairwise_selection_is_served(attempts: Attempts, ask: Ask) -> None:
    (call,) = calls_of(ask, 10)
    images = attempts.make("openrouter", call, api="images")
    assert [image.media_type for image in images] == [f"image/{ask[3]}"] * ask[4]
    if (shape := Shape.parse(ask[2])).size:
        assert {(image.width, image.height) for image in images} == {shape.size}


def test_several_inputs_are_served_and_what_they_cost_is_read(attempts: Attempts) -> None:
    call = Call(
        "Merge them", operation="edit", image_count=2, input_images=(input_image(), input_image("jpeg"))
    )
    outcome = attempts.outcome("openrouter", call, api="images")
    assert (len(outcome.images), str(outcome.cost_usd).rstrip("0")) == (2, "0.1")


def test_a_policy_refusal_is_rejected(attempts: Attempts) -> None:
    with pytest.raises(Rejected) as raised:
        attempts.make("openrouter", Call("A lamp with forbidden-content on it"), api="images")
    assert raised.value.policy
