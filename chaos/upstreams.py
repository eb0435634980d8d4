"""The upstreams: a simulator with several deployments of one model, two of another one and one for edits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

MODEL = "microsoft-mai-image-2-5"
PRICE = "0.039"
KEY_VARIABLE = "CHAOS_UPSTREAM_KEY"
KEY = "chaos-upstream-key"
BACKFILL_MODEL = BACKFILL_UPSTREAM_MODEL = "gpt-image-2"
BACKFILL_PRICE = "0.007"
EDIT_MODEL = "microsoft-mai-image-2e"
EDIT_PRICE = "0.039"
MAX_ATTEMPTS = 6
"""Failures of a job at one deployment, as by default: a job outlives an outage of all for two minutes."""


class _Deployment(NamedTuple):
    name: str
    provider: str
    model: str
    rpm: int
    timeout_seconds: int
    serves: str = MODEL
    latency_ms: tuple[int, int] = (200, 900)


_BULK = ("openai", BACKFILL_UPSTREAM_MODEL, 1200, 15, BACKFILL_MODEL, (50, 250))
"""More calls a minute than the machine manages, so that ten thousand images take minutes."""
_DEPLOYMENTS = (
    _Deployment("east", "foundry", "mai-image-2-5", 240, 15),
    _Deployment("west", "foundry", "mai-image-2-5", 240, 15),
    _Deployment("aiml", "aiml", "microsoft/mai-image-2.5", 180, 15),
    _Deployment("openrouter", "openrouter", "microsoft/mai-image-2.5", 180, 15),
    _Deployment("pixazo", "pixazo", MODEL, 120, 60),  # longer than one poll that hangs, which is given 30 s
    _Deployment("bulk-1", *_BULK),
    _Deployment("bulk-2", *_BULK),
    _Deployment("edits", "foundry", "mai-image-2e", 60, 15, EDIT_MODEL),
)
RPM = {one.name: one.rpm for one in _DEPLOYMENTS}
"""Calls a minute, by deployment. An upstream, its deployment and its quota group have one name."""
TIMEOUT_SECONDS = {one.name: one.timeout_seconds for one in _DEPLOYMENTS}
"""The deadline of a call, by deployment."""
SERVING = {
    model: frozenset(one.name for one in _DEPLOYMENTS if one.serves == model)
    for model in (MODEL, BACKFILL_MODEL, EDIT_MODEL)
}
"""The deployments of each model; each can serve every job that asks for a ratio."""
DEPLOYMENTS = SERVING[MODEL]
BACKFILL_DEPLOYMENTS = SERVING[BACKFILL_MODEL]
SIZED_DEPLOYMENTS = DEPLOYMENTS & {one.name for one in _DEPLOYMENTS if one.provider == "foundry"}
"""Those that make an image of an exact size."""


def catalog(url: str) -> str:
    """The catalog of a simulator at `url`, as TOML."""
    parts = [
        _model(MODEL, PRICE),
        _model(BACKFILL_MODEL, BACKFILL_PRICE),
        _model(EDIT_MODEL, EDIT_PRICE, "edit"),
        *(_entry(url, one) for one in _DEPLOYMENTS),
    ]
    return "\n".join(parts)


def _model(model: str, price: str, operation: str = "generate") -> str:
    return f'[[models]]\nid = "{model}"\noperations = ["{operation}"]\nprice_usd = "{price}"\n'


def _entry(url: str, one: _Deployment) -> str:
    return (
        f'[[deployments]]\nname = "{one.name}"\nmodel = "{one.serves}"\nprovider = "{one.provider}"\n'
        f'upstream_model = "{one.model}"\nendpoint = "{url}/{one.name}"\nkey_env = "{KEY_VARIABLE}"\n'
        f'rpm = {one.rpm}\ncost_usd = "0.033"\ncold_start = "fresh"\n'
        f"timeout_seconds = {one.timeout_seconds}\nmax_attempts = {MAX_ATTEMPTS}\n"
    )


class Upstreams:
    """A simulator in a process of its own. `log` is the file of its log, `url` its base."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.log = directory / "upstream.jsonl"
        self._config = directory / "simulator.json"
        self._config.write_text(json.dumps(_config(seed)))
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "simulator", "--port", "0", "--config", str(self._config)]
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [*command, "--log", str(self.log)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.url = self._output.readline().split()[-1]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._output.close()

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        return self._process.stdout

    def calls(self) -> list[dict[str, Any]]:
        """Every call that the upstreams got, as they logged it."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if '"outcome"' in line]


def _config(seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "upstreams": {
            one.name: {
                "provider": one.provider,
                "keys": [KEY],
                "models": {
                    one.model: {
                        "rpm": one.rpm,
                        "latency_ms": one.latency_ms,
                        "admission_jitter_ms": [0, 100],
                    },
                },
            }
            for one in _DEPLOYMENTS
        },
    }
