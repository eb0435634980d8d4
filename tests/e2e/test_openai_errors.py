"""What the released `openai` package raises, what it repeats by itself, and what a repeat costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from tests.e2e.live import ROOT, LiveStack
from tests.e2e.openai_client import NAME, PRICE, REFUSED, Line, images_of, openai_client

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def client(stack: LiveStack) -> Iterator[OpenAI]:
    """A client as a program would make it."""
    with openai_client(stack) as made:
        yield made


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
        command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def key(stack: LiveStack) -> str:
    """The key of an account of these tests' own: what it has spent is what they have cost."""
    return json.loads(_keys(stack, "create", "careful", "--funds", "5", "--json"))["key"]


def _spent(stack: LiveStack, key: str) -> Decimal:
    wallet = stack.client.get("/v2/wallet", headers={"api-key": key}).json()
    assert wallet["held"] == "0"
    return Decimal(wallet["spent"])


def test_keys_that_may_not_ask_are_told_so_by_the_classes_that_the_package_has(stack: LiveStack) -> None:
    with (
        openai_client(stack, api_key="iq_wrong") as wrong,
        pytest.raises(openai.AuthenticationError) as unknown,
    ):
        wrong.models.list()
    assert unknown.value.code == "invalid_api_key"
    made = json.loads(_keys(stack, "create", "poor", "--funds", "0", "--rpm", "1", "--json"))
    with openai_client(stack, api_key=made["key"], max_retries=0) as poor:
        with pytest.raises(openai.APIStatusError) as broke:
            poor.images.generate(model=NAME, prompt="a lighthouse")
        assert (broke.value.status_code, broke.value.code) == (402, "insufficient_quota")
        with pytest.raises(openai.RateLimitError) as limited:
            poor.images.generate(model=NAME, prompt="a lighthouse")
        assert limited.value.code == "rate_limit_exceeded"
        assert int(limited.value.response.headers["retry-after"]) >= 1
    made = json.loads(_keys(stack, "create", "gone", "--json"))
    _keys(stack, "revoke", made["id"])
    with (
        openai_client(stack, api_key=made["key"]) as gone,
        pytest.raises(openai.PermissionDeniedError) as revoked,
    ):
        gone.models.list()
    assert revoked.value.code == "invalid_api_key"


def _slow(stack: LiveStack, prompt: str, seconds: float) -> None:
    """Let the next call with this prompt take longer than its client waits."""
    catalog = (stack.directory / "simulator.toml").read_text()
    (origin,) = set(re.findall(r'endpoint = "(http://[^/]+)/', catalog))
    fault = {"kind": "delay", "seconds": seconds, "match": {"prompt_contains": prompt}, "count": 1}
    httpx2.post(f"{origin}/_sim/faults", json=fault, trust_env=False).raise_for_status()


def test_a_client_that_gives_up_waiting_joins_its_job_again(stack: LiveStack, key: str) -> None:
    line, before = Line(), _spent(stack, key)
    _slow(stack, "a slow lighthouse", 3)
    with openai_client(stack, line, api_key=key, timeout=1, max_retries=20) as hasty:
        answer = hasty.images.generate(model=NAME, prompt="a slow lighthouse")
    assert len(images_of(answer)) == 1
    assert line.retry_counts[:2] == ["0", "1"]
    assert _spent(stack, key) - before == PRICE


def test_a_repeat_after_a_lost_answer_joins_the_job_and_is_not_charged(stack: LiveStack, key: str) -> None:
    line, before = Line(lost=2), _spent(stack, key)
    with openai_client(stack, line, api_key=key) as careful:
        answer = careful.images.generate(model=NAME, prompt="a lighthouse that is asked for thrice")
    assert len(images_of(answer)) == 1
    assert line.retry_counts == ["0", "1", "2"]
    assert _spent(stack, key) - before == PRICE


def test_a_job_that_ended_without_images_is_not_asked_for_again(stack: LiveStack) -> None:
    line = Line()
    _slow(stack, "too late", 10)
    with openai_client(stack, line) as hurried, pytest.raises(openai.InternalServerError) as raised:
        hurried.images.generate(model=NAME, prompt="too late", extra_headers={"X-Finish-By": "4"})
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_error")
    assert line.retry_counts == ["0"]
