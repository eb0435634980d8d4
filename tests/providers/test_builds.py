"""Every ask of the matrix through `refusal` and `build` alone, against the documents."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from imagequeue.domain.catalog import Deployment, OptionalField, ProviderName
from imagequeue.domain.images import Requirement
from imagequeue.providers.provider import Call, PollingProvider
from imagequeue.providers.registry import PROVIDERS
from tests.providers.deployments import deployment
from tests.providers.document import form_of
from tests.providers.documents import check, document, serves
from tests.providers.matrix import OPTIONS, calls_of, every_ask, input_image, pairwise, requirement_of
from tests.providers.recordings import all_recordings

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
        for call in calls_of(ask, provider.images_per_call(requirement, place)):
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
    most = PROVIDERS[name].images_per_call(Requirement(image_count=10), deployment(name))
    assert most == document(name).images_per_call


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


def test_who_is_polled_has_recordings_of_polls() -> None:
    polled = {name for name in NAMES if isinstance(PROVIDERS[name], PollingProvider)}
    assert polled == {recording.provider for recording in all_recordings() if recording.of == "poll"}
    assert "pixazo" in polled


@pytest.mark.parametrize("name", NAMES)
def test_only_an_upstream_that_calls_back_is_told_where(name: ProviderName) -> None:
    call = Call(prompt="A lamp", callback_url="https://queue.example/callbacks/token")
    check(name, PROVIDERS[name].build(call, deployment(name), "secret"), call)


def test_the_pairwise_selection_covers_every_pair() -> None:
    asks = [ask for ask in every_ask() if serves(ask[1], requirement_of(ask))]
    chosen = pairwise(asks)
    pairs = {(i, j, ask[i], ask[j]) for ask in asks for i in range(5) for j in range(i)}
    covered = {(i, j, ask[i], ask[j]) for ask in chosen for i in range(5) for j in range(i)}
    assert covered == pairs
    assert len(chosen) < len(asks) / 5


FIELDS: tuple[OptionalField, ...] = get_args(OptionalField)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_the_catalog_says_is_refused_is_not_sent(
    name: ProviderName, field: OptionalField
) -> None:
    for operation in ("generate", "edit"):
        inputs = (input_image(),) if operation == "edit" else ()
        if not serves(name, Requirement(operation=operation, input_count=len(inputs))):
            continue
        call = Call(prompt="A lamp", operation=operation, input_images=inputs, options=OPTIONS)
        sent = [
            sent_fields(name, call, deployment(name, refused_fields=refused)) for refused in ([], [field])
        ]
        assert sent[0] - sent[1] == sent[0] & {field}
        assert field not in sent[1]


def sent_fields(name: ProviderName, call: Call, place: Deployment) -> set[str]:
    request = PROVIDERS[name].build(call, place, "secret")
    request.read()
    if request.headers["content-type"].startswith("multipart/"):
        return {field for field, _ in form_of(request)}
    return set(json.loads(request.content))
