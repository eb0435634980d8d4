"""The upstreams: a simulator with several deployments of one model, and the faulty weather over them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any, Self

import httpx

MODEL = "microsoft-mai-image-2-5"
PRICE = "0.039"
KEY_VARIABLE = "CHAOS_UPSTREAM_KEY"
KEY = "chaos-upstream-key"
TIMEOUT_SECONDS = 15
MAX_ATTEMPTS = 8

_DEPLOYMENTS = (  # name, provider, upstream's model, calls a minute
    ("east", "foundry", "mai-image-2-5", 240),
    ("west", "foundry", "mai-image-2-5", 240),
    ("aiml", "aiml", "microsoft/mai-image-2.5", 180),
    ("openrouter", "openrouter", "microsoft/mai-image-2.5", 180),
    ("pixazo", "pixazo", MODEL, 120),
)
DEPLOYMENTS = frozenset(name for name, *_ in _DEPLOYMENTS)
"""Names; each can serve every job of the run."""

_WEATHER: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 500, "count": 6},
    {"kind": "status", "status": 503, "count": 4},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "2"}, "count": 3},
    {"kind": "status", "status": 502, "count": 2},
    {"kind": "delay", "seconds": 4, "count": 12},
    {"kind": "hang", "count": 2},
    {"kind": "hang", "stage": "mid_response", "count": 1},
    {"kind": "reset", "count": 3},
    {"kind": "reset", "stage": "mid_response", "count": 2},
    {"kind": "html", "stage": "after_admission", "count": 2},
    {"kind": "truncated_json", "count": 3},
    {"kind": "truncated_base64", "count": 2},
    {"kind": "not_an_image", "count": 3},
    {"kind": "no_data", "count": 2},
)


def catalog(url: str) -> str:
    """The catalog of a simulator at `url`, as TOML."""
    parts = [
        f'[[models]]\nid = "{MODEL}"\noperations = ["generate"]\nprice_usd = "{PRICE}"\n',
        *(_deployment(url, *one) for one in _DEPLOYMENTS),
    ]
    return "\n".join(parts)


def _deployment(url: str, name: str, provider: str, model: str, rpm: int) -> str:
    return (
        f'[[deployments]]\nname = "{name}"\nmodel = "{MODEL}"\nprovider = "{provider}"\n'
        f'upstream_model = "{model}"\nendpoint = "{url}/{name}"\nkey_env = "{KEY_VARIABLE}"\nrpm = {rpm}\n'
        f'cost_usd = "0.033"\ncold_start = "fresh"\ntimeout_seconds = {TIMEOUT_SECONDS}\n'
        f"max_attempts = {MAX_ATTEMPTS}\n"
    )


class Upstreams:
    """A simulator in a process of its own. `log` is the file of its log, `armed` the number of its faults."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.log = directory / "upstream.jsonl"
        self._config = directory / "simulator.json"
        self._config.write_text(json.dumps(_config(seed)))
        self._random = Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._blow, name="weather", daemon=True)
        self.armed = 0
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "simulator", "--port", "0", "--config", str(self._config)]
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [*command, "--log", str(self.log)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        self.url = self._process.stdout.readline().split()[-1]
        return self

    def __exit__(self, *_: object) -> None:
        self.calm()
        self._process.terminate()
        self._process.wait(10)

    def storm(self) -> None:
        """Begin to arm faults."""
        self._thread.start()

    def calm(self) -> None:
        """Arm no more faults, and disarm those that are armed."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            httpx.delete(f"{self.url}/_sim/faults", trust_env=False, timeout=10)

    def calls(self) -> list[dict[str, Any]]:
        """Every call that the upstreams got, as they logged it."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if '"outcome"' in line]

    def _blow(self) -> None:
        while not self._stopping.wait(self._random.uniform(2, 6)):
            fault = self._random.choice(_WEATHER) | {"match": {"upstream": self._upstream()}}
            try:
                httpx.post(f"{self.url}/_sim/faults", json=fault, trust_env=False, timeout=10)
            except httpx.HTTPError:
                continue  # it is busy; another fault comes soon
            self.armed += 1

    def _upstream(self) -> str:
        return self._random.choice(_DEPLOYMENTS)[0]


def _config(seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "upstreams": {
            name: {
                "provider": provider,
                "keys": [KEY],
                "models": {
                    model: {"rpm": rpm, "latency_ms": [200, 900], "admission_jitter_ms": [0, 100]},
                },
            }
            for name, provider, model, rpm in _DEPLOYMENTS
        },
    }
