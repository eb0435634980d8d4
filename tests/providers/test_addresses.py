"""Where a call goes."""

from __future__ import annotations

from imagequeue.providers.provider import Call
from imagequeue.providers.registry import PROVIDERS
from tests.providers.deployments import deployment


def test_an_endpoint_may_be_given_with_its_path() -> None:
    place = deployment("openrouter", "https://openrouter.ai/api/v1/chat/completions")
    request = PROVIDERS["openrouter"].build(Call(prompt="A lamp"), place, "secret")
    assert str(request.url) == "https://openrouter.ai/api/v1/chat/completions"
