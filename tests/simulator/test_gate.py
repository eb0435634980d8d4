"""Which calls are admitted, over HTTP: places in the quota, hints, and what takes a place."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.simulator.conftest import Generate, foundry, model
from tests.simulator.quotas import Entries, quota


def test_the_call_after_the_last_place_is_429_and_takes_none(
    generate: Generate, client: httpx.Client, entries: Entries
) -> None:
    statuses = [generate("tight").status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    assert [entry["outcome"] for entry in entries()] == ["admitted", "admitted", "throttled", "throttled"]
    report = quota(client, "tight/mai")
    assert (report["admitted"], report["throttled"], report["maximum_in_window"]) == (2, 2, 2)


def test_a_place_is_free_again_one_window_later(client: httpx.Client, generate: Generate) -> None:
    config = foundry(models={"mai": model(rpm=1, window_seconds=0.2)})
    client.put("/_sim/upstreams/small", json=config.model_dump(mode="json"))
    statuses = [generate("small").status_code]
    while 429 not in statuses or statuses[-1] == 429:
        statuses.append(generate("small").status_code)
    report = quota(client, "small/mai")
    assert report["admitted"] == statuses.count(200) >= 2
    assert report["maximum_in_window"] == 1
    assert 0 < report["utilisation"] <= 1


@pytest.mark.parametrize(
    ("form", "header", "unit"),
    [
        ("seconds", "retry-after", 1),
        ("milliseconds", "retry-after-ms", 1000),
        ("x-ms-milliseconds", "x-ms-retry-after-ms", 1000),
    ],
)
def test_the_hint_comes_in_the_configured_form(
    client: httpx.Client, generate: Generate, form: str, header: str, unit: int
) -> None:
    config = foundry(models={"mai": model(rpm=1, window_seconds=30)}, retry_after=form)
    client.put("/_sim/upstreams/hinting", json=config.model_dump(mode="json"))
    generate("hinting")
    response = generate("hinting")
    assert response.status_code == 429
    assert 29 * unit <= int(response.headers[header]) <= 30 * unit
    assert response.json()["error"]["code"] == "429"


def test_the_hint_can_be_a_date_or_missing(client: httpx.Client, generate: Generate) -> None:
    for form in ("date", "none"):
        config = foundry(models={"mai": model(rpm=0)}, retry_after=form)
        client.put(f"/_sim/upstreams/{form}", json=config.model_dump(mode="json"))
    assert generate("date").headers["retry-after"].endswith("GMT")
    assert not [name for name in generate("none").headers if "retry" in name]


def test_a_400_takes_a_place_and_a_401_and_a_404_take_none(
    generate: Generate, client: httpx.Client, entries: Entries
) -> None:
    assert generate("tight", width=5).status_code == 400
    assert generate("tight", headers={"api-key": "x"}).status_code == 401
    assert generate("tight", model="other").status_code == 404
    assert quota(client, "tight/mai")["admitted"] == 1
    seen = [(entry["outcome"], entry["status"], entry["quota"]) for entry in entries()]
    assert seen == [("admitted", 400, "tight/mai"), ("unauthorized", 401, None), ("refused", 404, None)]


def test_models_share_a_quota_that_they_name(client: httpx.Client, generate: Generate) -> None:
    shared = {name: model(rpm=2, quota="shared") for name in ("a", "b")}
    client.put("/_sim/upstreams/pair", json=foundry(models=shared).model_dump(mode="json"))
    assert [generate("pair", model=name).status_code for name in "aba"] == [200, 200, 429]
    assert quota(client, "shared")["admitted"] == 2


def test_a_shared_quota_must_have_one_size(client: httpx.Client) -> None:
    models = {"a": model(rpm=2, quota="shared"), "b": model(rpm=3, quota="shared")}
    response = client.put("/_sim/upstreams/pair", json=foundry(models=models).model_dump(mode="json"))
    assert response.status_code == 422
    assert "shared" in response.text


def test_a_changed_rpm_keeps_what_was_admitted(client: httpx.Client, generate: Generate) -> None:
    generate("tight")
    generate("tight")
    config = foundry(models={"mai": model(rpm=3, window_seconds=30)})
    client.put("/_sim/upstreams/tight", json=config.model_dump(mode="json"))
    assert [generate("tight").status_code for _ in range(2)] == [200, 429]


def test_jitter_passes_before_the_gate_and_latency_after_it(
    client: httpx.Client, generate: Generate, entries: Entries
) -> None:
    config = foundry(models={"mai": model(admission_jitter_ms=[200, 200], latency_ms=[100, 100])})
    client.put("/_sim/upstreams/slow", json=config.model_dump(mode="json"))
    generate(prompt="before")
    response = generate("slow")
    before, late = (entry["monotonic_ns"] for entry in entries())
    assert late - before >= 200_000_000
    assert response.elapsed.total_seconds() >= 0.3


def test_forty_callers_at_once_get_exactly_the_places_there_are(
    client: httpx.Client, generate: Generate
) -> None:
    config = foundry(models={"mai": model(rpm=7, admission_jitter_ms=[0, 30])})
    client.put("/_sim/upstreams/crowd", json=config.model_dump(mode="json"))
    with ThreadPoolExecutor(40) as callers:
        answers = [callers.submit(generate, "crowd") for _ in range(40)]
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * 7 + [429] * 33
    report = quota(client, "crowd/mai")
    assert (report["admitted"], report["throttled"], report["maximum_in_window"]) == (7, 33, 7)
