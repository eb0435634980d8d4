"""The program itself: says when it listens, ends at once on SIGTERM, whatever hangs."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from simulator.config import DEMO_KEY, ModelConfig, SimulatorConfig, UpstreamConfig, default_config

BODY = {"model": "mai-image-2e", "prompt": "a harbour at dawn", "width": 768, "height": 768}


@contextlib.contextmanager
def program(*arguments: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "simulator", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            word, _, url = process.stdout.readline().strip().partition(" ")
            assert word == "simulator"
            yield process, url
        finally:
            process.kill()


def test_it_serves_the_demo_and_ends_cleanly_with_a_hanging_call(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    with program("--log", str(log)) as (process, url), httpx.Client(trust_env=False, timeout=120) as client:
        path = f"{url}/foundry-eastus/mai/v1/images/generations"
        assert client.post(path, json=BODY, headers={"api-key": DEMO_KEY}).status_code == 200
        client.post(f"{url}/_sim/faults", json={"kind": "hang"})
        with pytest.raises(httpx.ReadTimeout):
            client.post(path, json=BODY, headers={"api-key": DEMO_KEY}, timeout=0.5)
        streaming = httpx.Timeout(10, read=0.2)
        with contextlib.suppress(httpx.ReadTimeout):
            client.post(path, json=BODY, headers={"api-key": DEMO_KEY}, timeout=streaming)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    written = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["fault"] for line in written] == [None, "hang", "hang"]


def test_it_takes_a_configuration(tmp_path: Path) -> None:
    upstream = UpstreamConfig(provider="foundry", keys=("k",), models={"m": ModelConfig(rpm=0)})
    file = tmp_path / "simulator.json"
    file.write_text(SimulatorConfig(upstreams={"own": upstream}, seed=3).model_dump_json())
    with program("--config", str(file)) as (_, url):
        path = f"{url}/own/mai/v1/images/generations"
        response = httpx.post(path, json={**BODY, "model": "m"}, headers={"api-key": "k"}, trust_env=False)
        assert response.status_code == 429


def test_the_default_has_every_upstream_of_the_demo() -> None:
    assert {"foundry-eastus", "foundry-westus", "aiml", "openrouter", "omixa", "pixazo"} <= set(
        default_config().upstreams
    )


def test_answers_do_not_wait_for_delayed_acknowledgements() -> None:
    """Forty small calls on one connection; with Nagle's algorithm each would take 40 ms."""
    with program() as (_, url), httpx.Client(trust_env=False) as client:
        client.get(f"{url}/_sim/faults")
        fastest = min(client.get(f"{url}/_sim/faults").elapsed.total_seconds() for _ in range(40))
    assert fastest < 0.03
