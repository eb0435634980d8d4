"""Every provider x {success, refused, throttled with and without hint, outage, misconfigured, nonsense}."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal

import pytest

from imagequeue.domain import upstream
from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.upstream import Images, Pending, Unavailable, UpstreamError
from imagequeue.providers.registry import PROVIDERS
from tests.media.pictures import bomb, picture
from tests.providers.recordings import DIRECTORY, Recording, all_recordings, read, received, recorded

REQUIRED = {"success", "refused", "throttled", "throttled_without_hint", "outage", "misconfigured"}
NAMES = sorted(PROVIDERS)
HTML = b"<!doctype html><html><body><h1>Welcome</h1></body></html>"


@pytest.mark.parametrize("provider", NAMES)
def test_every_provider_has_its_recordings(provider: ProviderName) -> None:
    assert {path.stem for path in (DIRECTORY / provider).glob("*.json")} >= REQUIRED


@pytest.mark.parametrize("recording", all_recordings(), ids=lambda made: f"{made.provider}-{made.name}")
def test_recorded_answer_is_read_as_it_is_meant(recording: Recording) -> None:
    if "error" in recording.expects:
        _check_error(recording)
        return
    outcome = read(recording)
    if isinstance(outcome, Pending):
        assert outcome.reference == recording.expects["reference"]
        return
    assert len(received(outcome, picture())) == recording.expects["images"]
    assert outcome.cost_usd == _usd(recording)


def _check_error(recording: Recording) -> None:
    kind: type[UpstreamError] = getattr(upstream, recording.expects["error"])
    with pytest.raises(UpstreamError) as raised:
        read(recording)
    assert type(raised.value) is kind
    details = {name: getattr(raised.value, name) for name in recording.expects if name != "error"}
    assert {"error": recording.expects["error"], **details} == recording.expects


def _usd(recording: Recording) -> Decimal | None:
    cost = recording.expects.get("cost_usd")
    return None if cost is None else Decimal(cost)


NONSENSE_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda _: HTML,
    "truncated json": lambda body: body[: len(body) // 2],
    "nothing": lambda _: b"",
    "another json": lambda _: b'{"data": {"b64_json": 7}, "choices": [{"message": null}], "output": []}',
    "no object": lambda _: b'["data"]',
    "deep": lambda _: b"[" * 100_000,
    "a huge number": lambda _: b"9" * 10_000,
}


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("nonsense", NONSENSE_BODIES)
def test_a_success_with_a_body_of_nonsense_is_unavailable(provider: ProviderName, nonsense: str) -> None:
    success = recorded(provider, "success")
    body = NONSENSE_BODIES[nonsense](success.content(picture()))
    if success.of == "poll":
        # The image is not lost: the next poll may be answered better.
        assert isinstance(read(success, content=body), Pending)
        return
    with pytest.raises(Unavailable):
        read(success, content=body)


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize(
    "spoiled",
    [b"The image is being prepared.", bomb(), picture(size=(200, 200))[:200]],
    ids=["text", "bomb", "half"],
)
def test_a_success_without_an_image_is_unavailable(provider: ProviderName, spoiled: bytes) -> None:
    success = recorded(provider, "success")
    outcome = read(success, content=success.content(spoiled))
    assert isinstance(outcome, Images)
    with pytest.raises(Unavailable):
        received(outcome, spoiled)


@pytest.mark.parametrize("provider", NAMES)
def test_truncated_base64_is_unavailable(provider: ProviderName) -> None:
    has_inline = (DIRECTORY / provider / "success_inline.json").exists()
    success = recorded(provider, "success_inline" if has_inline else "success")
    whole = base64.b64encode(picture())
    body = success.content(picture())
    assert whole in body
    with pytest.raises(Unavailable):
        read(success, content=body.replace(whole, whole[:101]))


@pytest.mark.parametrize("provider", NAMES)
def test_fewer_images_than_asked_is_unavailable_and_those_that_came_are_kept(provider: ProviderName) -> None:
    success = recorded(provider, "success")
    came = success.expects["images"]
    with pytest.raises(Unavailable) as raised:
        read(success, image_count=came + 1)
    assert len(raised.value.images) == came
    assert raised.value.cost_usd == _usd(success)


def test_no_reason_shows_what_looks_like_a_key() -> None:
    for recording in all_recordings():
        if recording.expects.get("error") == "Misconfigured":
            with pytest.raises(UpstreamError) as raised:
                read(recording)
            assert "0123456789abcdef" not in raised.value.reason
