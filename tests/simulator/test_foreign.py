"""Somebody else's traffic on the same quota."""

import httpx

from tests.simulator.conftest import Generate, foundry, model
from tests.simulator.quotas import Entries, quota


def test_foreign_traffic_takes_places_and_is_told_apart(
    client: httpx.Client, generate: Generate, entries: Entries
) -> None:
    config = foundry(models={"mai": model(rpm=10, window_seconds=0.5)})
    client.put("/_sim/upstreams/busy", json=config.model_dump(mode="json"))
    ask = {"upstream": "busy", "model": "mai", "share": 2}
    assert client.post("/_sim/foreign", json=ask).status_code == 201
    seen = 0
    while quota(client, "busy/mai")["foreign_throttled"] == 0:
        seen = entries(after=seen, wait=5)[-1]["sequence"]
    assert client.get("/_sim/foreign").json() == [ask]
    assert client.delete("/_sim/foreign").status_code == 204
    report = quota(client, "busy/mai")
    assert report["foreign_admitted"] >= 10
    assert (report["admitted"], report["throttled"]) == (0, 0)
    assert report["maximum_in_window"] == 10
    assert {entry["operation"] for entry in entries(upstream="busy")} == {"foreign"}
    assert client.post("/_sim/foreign", json={**ask, "model": "none"}).status_code == 404
