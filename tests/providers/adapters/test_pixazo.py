"""What is special about Pixazo: ratios, polls, callbacks."""

from __future__ import annotations

import json

import pytest

from imagequeue.domain.images import Shape
from imagequeue.providers.provider import Call, CallbackProvider, PollingProvider
from imagequeue.providers.registry import PROVIDERS
from tests.providers.deployments import deployment
from tests.providers.recordings import REFERENCE


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
