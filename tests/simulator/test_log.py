"""The strict log over HTTP: what an entry says, and what of it is left after a restart."""

import threading
from pathlib import Path
from typing import Any

import httpx

from simulator.config import SimulatorConfig
from tests.loopback import NO_TLS
from tests.servers import SimulatorThread
from tests.simulator.conftest import KEY, Generate, foundry, model
from tests.simulator.quotas import Entries


def test_an_entry_says_what_was_asked(generate: Generate, entries: Entries) -> None:
    generate(prompt="p" * 600)
    (entry,) = entries(upstream="east")
    assert (entry["provider"], entry["model"], entry["operation"]) == ("foundry", "mai", "generate")
    assert (entry["image_count"], entry["status"], entry["fault"]) == (1, 200, None)
    assert entry["prompt"] == "p" * 500
    assert entry["reference"]


def test_reset_forgets_entries_and_quotas_and_goes_on_counting(
    client: httpx.Client, generate: Generate, entries: Entries
) -> None:
    for _ in range(3):
        generate("tight")
    last = entries()[-1]["sequence"]
    assert client.post("/_sim/reset").status_code == 204
    assert entries() == []
    assert generate("tight").status_code == 200
    (entry,) = entries()
    assert entry["sequence"] == last + 1


def test_after_and_wait_follow_the_log(client: httpx.Client, generate: Generate, entries: Entries) -> None:
    generate()
    first = entries()[0]["sequence"]
    caller = threading.Thread(target=generate, kwargs={"prompt": "the second"})
    seen = list[dict[str, Any]]()
    waiter = threading.Thread(target=lambda: seen.extend(entries(after=first, wait=10)))
    waiter.start()
    caller.start()
    waiter.join(120)
    caller.join(120)
    assert [entry["prompt"] for entry in seen] == ["the second"]
    assert entries(after=first + 1, wait=0.05) == []


def test_a_restarted_simulator_continues_its_log_and_its_quotas(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    config = SimulatorConfig(upstreams={"east": foundry(models={"mai": model(rpm=2)})})
    body = {"model": "mai", "prompt": "x"}

    def statuses(calls: int) -> list[int]:
        with SimulatorThread(config, path) as server:
            url = f"{server.url}/east/mai/v1/images/generations"
            return [
                httpx.post(
                    url, json=body, headers={"api-key": KEY}, trust_env=False, verify=NO_TLS
                ).status_code
                for _ in range(calls)
            ]

    assert statuses(1) == [200]
    with path.open("ab") as file:
        file.write(b'{"sequence": 2, "upst')  # what a killed process leaves
    assert statuses(2) == [200, 429]
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert '"sequence":3' in lines[2]
    with SimulatorThread(config, path) as server:
        assert [entry.sequence for entry in server.state.log.entries] == [1, 2, 3]
        httpx.post(f"{server.url}/_sim/reset", trust_env=False, verify=NO_TLS)
    assert statuses(2) == [200, 200]
