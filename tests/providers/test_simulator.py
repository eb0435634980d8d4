"""Every adapter over HTTP against the strict simulator."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import httpx
import pytest

from imagequeue.domain import upstream
from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.images import Shape
from imagequeue.domain.upstream import (
    Misconfigured,
    Rejected,
    Throttled,
    UpstreamError,
)
from imagequeue.egress import deadline_transport
from imagequeue.providers.provider import Call
from imagequeue.providers.registry import PROVIDERS
from simulator.config import ModelConfig, RetryAfterForm, SimulatorConfig, UpstreamConfig
from simulator.providers import PROVIDERS as SIMULATED
from tests.loopback import NO_TLS
from tests.providers.attempts import KEY, Attempts, arm
from tests.providers.documents import document, serves
from tests.providers.matrix import Ask, calls_of, every_ask, input_image, pairwise, requirement_of
from tests.servers import SimulatorThread
from tests.upstreams import UNDOCUMENTED_FORMS

NAMES: list[ProviderName] = sorted(SIMULATED)
MIB = 1024 * 1024


def _asks() -> list[Ask]:
    return pairwise(ask for ask in every_ask() if ask[1] in NAMES and serves(ask[1], requirement_of(ask)))


def _upstream(provider: ProviderName, **changes: Any) -> UpstreamConfig:
    quick: dict[str, Any] = {"rpm": 100_000, "latency_ms": (0, 0), "cost_usd": "0.05"}
    model = ModelConfig.model_validate({**quick, **changes})
    models = {document(provider).upstream_model: model}
    fields = {"provider": provider, "keys": (KEY,), "entra_tokens": ("token",), "models": models}
    return UpstreamConfig.model_validate(fields)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    """All providers, without latency."""
    config = SimulatorConfig(upstreams={name: _upstream(name) for name in NAMES})
    with SimulatorThread(config) as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Generator[httpx.Client]:
    """The client that workers use."""
    with httpx.Client(transport=deadline_transport()) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_faults(simulator: SimulatorThread) -> Iterator[None]:
    yield
    httpx.delete(f"{simulator.url}/_sim/faults", trust_env=False, verify=NO_TLS).raise_for_status()


@pytest.fixture
def attempts(simulator: SimulatorThread, client: httpx.Client) -> Attempts:
    """Calls to the simulator."""
    return Attempts(simulator, client)


@pytest.mark.parametrize("ask", _asks(), ids=lambda ask: "-".join(map(str, ask)))
def test_the_pairwise_selection_is_served(attempts: Attempts, ask: Ask) -> None:
    name = ask[1]
    calls = calls_of(ask, PROVIDERS[name].images_per_call(requirement_of(ask), attempts.place(name)))
    # The calls of one ask differ in their image counts alone: one of each is enough here.
    different = {call.image_count: call for call in calls}
    images = [image for call in different.values() for image in attempts.make(name, call)]
    assert {image.media_type for image in images} == {f"image/{ask[3]}"}
    if ask[0] == "generate" and ask[2] != "auto":
        _check_shape(images[0], Shape.parse(ask[2]))


def _check_shape(image: EncodedImage, shape: Shape) -> None:
    if shape.size:
        assert (image.width, image.height) == shape.size
    elif shape.ratio:
        assert image.width / image.height == pytest.approx(  # pyright: ignore[reportUnknownMemberType]
            shape.ratio[0] / shape.ratio[1], rel=0.02
        )


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("name", [name for name in NAMES if document(name).most_inputs])
def test_edits_of_both_kinds_of_inputs_are_served(attempts: Attempts, name: ProviderName, kind: str) -> None:
    call = Call(prompt="Make it warmer", operation="edit", input_images=(input_image(kind),))
    assert len(attempts.make(name, call)) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if document(name).masks])
def test_masks_and_several_inputs_are_served(attempts: Attempts, name: ProviderName) -> None:
    inputs = (input_image(), input_image("jpeg"))
    call = Call(prompt="Fill it", operation="edit", input_images=inputs, mask=input_image())
    assert len(attempts.make(name, call)) == 1


@pytest.mark.parametrize("name", ["aiml", "omixa", "openrouter"])
def test_what_the_upstream_charged_is_read(attempts: Attempts, name: ProviderName) -> None:
    assert str(attempts.outcome(name, Call(prompt="A lamp")).cost_usd).rstrip("0") == "0.05"


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_refusal_is_rejected(attempts: Attempts, name: ProviderName) -> None:
    with pytest.raises(Rejected) as raised:
        attempts.make(name, Call(prompt="A lamp with forbidden-content on it"))
    assert raised.value.policy
    assert raised.value.reason


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_key_and_a_wrong_model_are_misconfigured(attempts: Attempts, name: ProviderName) -> None:
    for wrong in ({"secret": "another"}, {"upstream_model": "no-such-model"}):
        with pytest.raises(Misconfigured):
            attempts.make(name, Call(prompt="A lamp"), **wrong)


def test_entra_tokens_are_taken(attempts: Attempts) -> None:
    place: dict[str, Any] = {"auth": "entra", "key_env": None}
    assert len(attempts.make("foundry", Call(prompt="A lamp"), "token", **place)) == 1


FORMS: tuple[RetryAfterForm, ...] = ("seconds", "date", "milliseconds", "x-ms-milliseconds", "none")


@pytest.mark.parametrize("name", NAMES)
def test_a_quota_that_is_used_up_throttles_with_every_form_of_hint(
    client: httpx.Client, name: ProviderName
) -> None:
    tight = _upstream(name, rpm=1)
    forms = {form: tight.model_copy(update={"retry_after": form}) for form in FORMS}
    with SimulatorThread(SimulatorConfig(upstreams=forms)) as server:
        hints = {form: _hint(Attempts(server, client), name, f"{server.url}/{form}") for form in FORMS}
    assert hints.pop("none") is None
    assert all(hint is not None and 50 < hint <= 62 for hint in hints.values()), hints


def _hint(attempts: Attempts, name: ProviderName, endpoint: str) -> float | None:
    attempts.outcome(name, Call(prompt="A lamp"), endpoint=endpoint)
    with pytest.raises(Throttled) as raised:
        attempts.outcome(name, Call(prompt="A lamp"), endpoint=endpoint)
    assert not raised.value.out_of_quota
    return raised.value.retry_after


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "500": ("Unavailable", {"kind": "status", "status": 500}),
    "503 html": ("Unavailable", {"kind": "html", "status": 503}),
    "502": ("Ambiguous", {"kind": "status", "status": 502}),
    "504": ("Ambiguous", {"kind": "status", "status": 504}),
    "429 for a day": ("Throttled", {"kind": "status", "status": 429, "headers": {"retry-after": "86400"}}),
    "401": ("Misconfigured", {"kind": "status", "status": 401}),
    "hang": ("Ambiguous", {"kind": "hang"}),
    "hang before the body": ("Ambiguous", {"kind": "hang", "stage": "before_body"}),
    "reset": ("Ambiguous", {"kind": "reset"}),
    "reset in the answer": ("Ambiguous", {"kind": "reset", "stage": "mid_response"}),
    "drip": ("Ambiguous", {"kind": "drip", "bytes_per_second": 60}),
    "html": ("Unavailable", {"kind": "html"}),
    "truncated json": ("Unavailable", {"kind": "truncated_json"}),
    "truncated base64": ("Unavailable", {"kind": "truncated_base64"}),
    "not an image": ("Unavailable", {"kind": "not_an_image"}),
    "bomb": ("Unavailable", {"kind": "bomb"}),
    "oversized": ("Unavailable", {"kind": "oversized", "size_bytes": 40 * MIB}),
    "fewer images": ("Unavailable", {"kind": "fewer_images"}),
    "no data": ("Unavailable", {"kind": "no_data"}),
    "redirect": ("Unavailable", {"kind": "redirect", "location": "http://10.0.0.1/"}),
    "a firewall": ("Unavailable", {"kind": "html", "status": 403}),
    "a gateway that gave up": ("Ambiguous", {"kind": "status", "status": 499}),
    "a conflict": ("Unavailable", {"kind": "status", "status": 409}),
    "an error inside": ("Throttled", {"kind": "status", "status": 200, "body": {"error": {"code": 429}}}),
}
SLOW = {"hang", "hang before the body", "drip"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_fault_costs_the_attempt_and_is_judged(
    simulator: SimulatorThread, attempts: Attempts, name: ProviderName, fault: str
) -> None:
    expected, settings = FAULTS[fault]
    attempts.seconds = 0.4 if fault in SLOW else 20.0
    arm(simulator, **settings)
    with pytest.raises(UpstreamError) as raised:
        attempts.make(name, Call(prompt="A lamp"))
    assert type(raised.value).__name__ == expected
    assert isinstance(raised.value, getattr(upstream, expected))


@pytest.mark.parametrize("form", UNDOCUMENTED_FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_an_image_in_a_form_that_no_document_has_is_kept_and_not_bought_again(
    simulator: SimulatorThread, attempts: Attempts, name: ProviderName, form: str
) -> None:
    for match in ({}, {"operation": "poll"}):
        arm(simulator, **UNDOCUMENTED_FORMS[form], match=match)
    assert [image.media_type for image in attempts.make(name, Call(prompt="A lamp"))] == ["image/png"]


@pytest.mark.parametrize("status", [401, 403, 408, 409, 423, 425, 429, 499, 502, 530])
def test_a_poll_that_a_stranger_answers_is_asked_again(
    simulator: SimulatorThread, attempts: Attempts, status: int
) -> None:
    arm(simulator, kind="html", status=status, match={"operation": "poll"}, count=1)
    assert len(attempts.make("pixazo", Call(prompt="A lamp"))) == 1


def test_images_that_came_are_kept_when_the_upstream_caps_the_count(client: httpx.Client) -> None:
    capped = SimulatorConfig(upstreams={"omixa": _upstream("omixa", max_images=1)})
    with SimulatorThread(capped) as server, pytest.raises(upstream.Unavailable) as raised:
        Attempts(server, client).outcome("omixa", Call(prompt="A lamp", image_count=3))
    assert len(raised.value.images) == 1
    assert str(raised.value.cost_usd).rstrip("0") == "0.05"


@pytest.mark.parametrize(("kind", "error"), [("job_failed", "Rejected"), ("job_error", "Unavailable")])
def test_jobs_that_end_badly(simulator: SimulatorThread, attempts: Attempts, kind: str, error: str) -> None:
    arm(simulator, kind=kind, message="Description of the error")
    with pytest.raises(UpstreamError) as raised:
        attempts.make("pixazo", Call(prompt="A lamp"))
    assert type(raised.value).__name__ == error


@pytest.mark.parametrize("fault", ["500", "502", "html", "truncated json", "429 for a day"])
def test_a_poll_that_fails_is_asked_again(simulator: SimulatorThread, attempts: Attempts, fault: str) -> None:
    arm(simulator, **FAULTS[fault][1], match={"operation": "poll"}, count=1)
    assert len(attempts.make("pixazo", Call(prompt="A lamp"))) == 1
