"""Several deployments, dispatchers and workers on one database: what Celery would run, run by threads."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self
from uuid import UUID

import httpx
from sqlalchemy import Engine

from imagequeue import wiring
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.providers.registry import PROVIDERS
from imagequeue.store.attempts.calls import Doorbell
from simulator.config import SimulatorConfig
from tests import builders
from tests.loopback import NO_TLS
from tests.pipeline import Pipeline
from tests.servers import SimulatorThread

ROOT = Path(__file__).resolve().parents[1]
KEY = "upstream-key"
PATIENCE = 120.0
_UPSTREAM_FIELDS = {"latency_ms", "admission_jitter_ms"}


def catalog(simulator_url: str, deployments: Mapping[str, Mapping[str, Any]]) -> Catalog:
    """One model; the deployments by name, each at the upstream of its name."""
    entries = [
        {
            "name": name,
            "model": builders.MODEL,
            "provider": "foundry",
            "upstream_model": "mai",
            "endpoint": f"{simulator_url}/{name}",
            "key_env": "TEST_KEY",
            "cold_start": "fresh",
        }
        | {key: value for key, value in given.items() if key not in _UPSTREAM_FIELDS}
        for name, given in deployments.items()
    ]
    models = [{"id": builders.MODEL, "price_usd": str(builders.PRICE)}]
    return parse_catalog({"models": models, "deployments": entries}, {"TEST_KEY": KEY}, PROVIDERS)


def upstreams(deployments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The simulator's side of them: a strict quota of the same size and window."""
    return {
        name: {
            "provider": "foundry",
            "keys": [KEY],
            "models": {
                "mai": {
                    "rpm": given["rpm"],
                    "window_seconds": given.get("window_seconds", 60),
                    "latency_ms": given.get("latency_ms", [0, 0]),
                    "admission_jitter_ms": given.get("admission_jitter_ms", [0, 0]),
                }
            },
        }
        for name, given in deployments.items()
    }


@contextmanager
def pipeline(
    engine: Engine, database_url: str, directory: Path, deployments: Mapping[str, Mapping[str, Any]]
) -> Generator[Pipeline]:
    """A pipeline over these deployments, driven by hand."""
    config = SimulatorConfig.model_validate({"upstreams": upstreams(deployments)})
    with SimulatorThread(config) as simulator:
        runtime = builders.runtime(
            engine,
            database_url,
            of=catalog(simulator.url, deployments),
            storage_url=f"file://{directory / 'media'}",
            spill_dir=directory / "spill",
            egress_allow=f"127.0.0.1:{simulator.port}",
        )
        account_id, _ = builders.account(engine, "acme", funds="1000")
        made = Pipeline(runtime, simulator, directory, account_id)
        made.is_punctual = not any("window_seconds" in given for given in deployments.values())
        try:
            yield made
        finally:
            made.close()


@contextmanager
def simulator_process(directory: Path, given: Mapping[str, Any]) -> Generator[str]:
    """A simulator of its own process, so that this one's threads do not delay its admissions."""
    path = directory / "simulator.json"
    path.write_text(json.dumps({"upstreams": given}), "utf-8")
    command = [sys.executable, "-m", "simulator", "--port", "0", "--config", str(path)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child.stdout.readline().split()[1]
    finally:
        child.terminate()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


class Crew:
    """Dispatchers and workers as threads over one pipeline's verbs, each dispatcher with its own memory."""

    def __init__(self, of: Pipeline, *, dispatchers: int, workers: int) -> None:
        self._pipeline = of
        self._doorbells = SimpleQueue[UUID | None]()
        self._stopping = threading.Event()
        self._workers = workers
        self._threads = [
            threading.Thread(target=target, name=f"{target.__name__} {number}")
            for count, target in ((dispatchers, self._dispatch), (workers, self._work))
            for number in range(count)
        ]
        self.errors = list[BaseException]()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        for _ in range(self._workers):
            self._doorbells.put(None)
        for thread in self._threads:
            thread.join()
        assert not self.errors, self.errors

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        """As Celery would."""
        for doorbell in doorbells:
            self._doorbells.put(doorbell.attempt_id)

    def await_final(self, count: int, seconds: float = PATIENCE) -> None:
        """Wait until so many jobs are final."""
        came, final = self._pipeline.came, self._pipeline.final
        with came:
            enough = came.wait_for(lambda: self.errors or len(final) >= count, seconds)
        assert not self.errors, self.errors
        assert enough, f"{len(final)} of {count} jobs are final"

    def _dispatch(self) -> None:
        dispatch = wiring.dispatch(self._pipeline.runtime, self.ring)
        while not self._stopping.wait(0.02):
            try:
                self._pipeline.beat()
                dispatch.run_once()
            except BaseException as error:  # noqa: BLE001  # a thread's error is the test's
                self._failed(error)
                return

    def _work(self) -> None:
        while (attempt_id := self._doorbells.get()) is not None:
            try:
                self._pipeline.generation.run(attempt_id)
            except BaseException as error:  # noqa: BLE001  # likewise
                self._failed(error)
                return

    def _failed(self, error: BaseException) -> None:
        with self._pipeline.came:
            self.errors.append(error)
            self._pipeline.came.notify_all()


def quotas(simulator_url: str) -> dict[str, dict[str, Any]]:
    """The simulator's strict count of every quota, by upstream."""
    answer = (
        httpx.get(f"{simulator_url}/_sim/quota", trust_env=False, verify=NO_TLS).raise_for_status().json()
    )
    return {report["quota"].partition("/")[0]: report for report in answer["quotas"]}


def assert_never_exceeded(simulator_url: str) -> None:
    """No window held more than R calls, and not one call was refused for the quota."""
    for name, report in quotas(simulator_url).items():
        assert report["maximum_in_window"] <= report["rpm"], name
        assert report["throttled"] == 0, name
