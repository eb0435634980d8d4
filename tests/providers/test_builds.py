"""Every ask of the matrix through `refusal` and `build` alone, against the documents."""

from __future__ import annotations

import json

import pytest

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.images import Requirement, Shape
from imagequeue.providers.provider import Call, CallbackProvider, PollingProvider
from imagequeue.providers.registry import PROVIDERS
from tests.providers.deployments import deployment
from tests.providers.documents import check, document, serves
from tests.providers.matrix import OPTIONS, calls_of, every_ask, input_image, pairwise, requirement_of
from tests.providers.recordings import REFERENCE, all_recordings

NAMES = sorted(PROVIDERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_matrix_is_refused_or_built_as_the_document_has_it(name: ProviderName) -> None:
    provider, place, built = PROVIDERS[name], deployment(name), 0
    for ask in (ask for ask in every_ask() if ask[1] == name):
        requirement = requirement_of(ask)
        refusal = provider.refusal(requirement, place)
        assert (refusal is None) is serves(name, requirement), (ask, refusal)
        if refusal is not None:
            assert len(refusal) > 20
            continue
        for call in calls_of(ask, provider.images_per_call(requirement)):
            check(name, provider.build(call, place, "secret"), call)
            built += 1
    assert built > 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("input_count", [0, 1, 2, 16, 17])
@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("prompt_limit", [2, 4_000, 5_000, 32_000, 40_000])
def test_inputs_masks_and_prompts_are_refused_as_the_document_has_it(
    name: ProviderName,
    input_count: int,
    has_mask: bool,  # noqa: FBT001  # a parameter of the test
    prompt_limit: int,
) -> None:
    for operation in ("generate", "edit"):
        requirement = Requirement(
            operation=operation, input_count=input_count, has_mask=has_mask, prompt_limit=prompt_limit
        )
        refusal = PROVIDERS[name].refusal(requirement, deployment(name))
        assert (refusal is None) is serves(name, requirement), (requirement, refusal)


@pytest.mark.parametrize("name", NAMES)
def test_images_per_call(name: ProviderName) -> None:
    assert PROVIDERS[name].images_per_call(Requirement(image_count=10)) == document(name).images_per_call


@pytest.mark.parametrize("name", [name for name in NAMES if document(name).most_inputs > 1])
def test_several_inputs_are_sent_in_order(name: ProviderName) -> None:
    call = Call(
        prompt="Merge them",
        operation="edit",
        input_images=(input_image(), input_image("jpeg")),
        options=OPTIONS,
    )
    check(name, PROVIDERS[name].build(call, deployment(name), "secret"), call)


@pytest.mark.parametrize("name", [name for name in NAMES if document(name).masks])
def test_masks_are_sent(name: ProviderName) -> None:
    call = Call(prompt="Fill it", operation="edit", input_images=(input_image(),), mask=input_image())
    check(name, PROVIDERS[name].build(call, deployment(name), "secret"), call)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_the_upstream_would_refuse_is_left_out(name: ProviderName) -> None:
    call = Call(prompt="A lamp", options={"quality": "hd", "style": "vivid", "user": "me"})
    check(name, PROVIDERS[name].build(call, deployment(name), "secret"), call)


def test_an_equal_ratio_is_the_documented_one() -> None:
    call = Call(prompt="A lamp", shape=Shape.parse("42:18"))
    request = PROVIDERS["pixazo"].build(call, deployment("pixazo"), "secret")
    assert json.loads(request.content)["aspect_ratio"] == "21:9"


def test_a_poll_goes_to_the_endpoint_with_the_key() -> None:
    provider = PROVIDERS["pixazo"]
    assert isinstance(provider, PollingProvider)
    request = provider.build_poll("model_1", deployment("pixazo", "http://127.0.0.1:9/pixazo"), "secret")
    assert (request.method, str(request.url)) == (
        "GET",
        "http://127.0.0.1:9/pixazo/v2/requests/status/model_1",
    )
    assert request.headers["ocp-apim-subscription-key"] == "secret"


def test_who_is_polled_has_recordings_of_polls() -> None:
    polled = {name for name in NAMES if isinstance(PROVIDERS[name], PollingProvider)}
    assert polled == {recording.provider for recording in all_recordings() if recording.of == "poll"}
    assert "pixazo" in polled


@pytest.mark.parametrize("name", NAMES)
def test_only_an_upstream_that_calls_back_is_told_where(name: ProviderName) -> None:
    call = Call(prompt="A lamp", callback_url="https://queue.example/callbacks/token")
    check(name, PROVIDERS[name].build(call, deployment(name), "secret"), call)


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "ERROR", None])
def test_a_callback_tells_the_reference_whatever_else_it_says(status: str | None) -> None:
    provider = PROVIDERS["pixazo"]
    assert isinstance(provider, CallbackProvider)
    assert provider.parse_callback({"request_id": REFERENCE, "status": status, "output": 7}) == REFERENCE


@pytest.mark.parametrize("said", [None, 7, "", "../../v2/wallet", "a b", "x" * 201, "ü", ["x"], "x\n"])
def test_a_callback_without_a_reference_that_can_be_asked_for_tells_nothing(said: object) -> None:
    provider = PROVIDERS["pixazo"]
    assert isinstance(provider, CallbackProvider)
    assert provider.parse_callback({"request_id": said}) is None
    assert provider.parse_callback({}) is None


def test_an_endpoint_may_be_given_with_its_path() -> None:
    place = deployment("openrouter", "https://openrouter.ai/api/v1/chat/completions")
    request = PROVIDERS["openrouter"].build(Call(prompt="A lamp"), place, "secret")
    assert str(request.url) == "https://openrouter.ai/api/v1/chat/completions"


def test_the_pairwise_selection_covers_every_pair() -> None:
    asks = [ask for ask in every_ask() if serves(ask[1], requirement_of(ask))]
    chosen = pairwise(asks)
    pairs = {(i, j, ask[i], ask[j]) for ask in asks for i in range(5) for j in range(i)}
    covered = {(i, j, ask[i], ask[j]) for ask in chosen for i in range(5) for j in range(i)}
    assert covered == pairs
    assert len(chosen) < len(asks) / 5
