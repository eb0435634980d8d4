"""SIGHUP to any process, or to `up`, lets every process of a real stack take up a changed catalog."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.live import MODEL, LiveStack
from tests.eventually import eventually

pytestmark = pytest.mark.long

SECONDS = 120.0


def _reloads(stack: LiveStack) -> dict[str, int]:
    """How often each process that holds a catalog has taken one up."""
    names = [name for name in stack.pids() if name.startswith(("api", "dispatcher", "worker"))]
    logs = {name: (stack.directory / "logs" / f"{name}.log").read_text() for name in names}
    return {name: text.count("catalog_reloaded") for name, text in logs.items()}


def _price(stack: LiveStack) -> str:
    models = stack.client.get("/v1/models").json()["data"]
    return next(model["price_usd"] for model in models if model["id"] == MODEL)


def test_a_hangup_of_any_process_reaches_all_of_them_and_jobs_go_on(stack: LiveStack) -> None:
    before, catalog, price = stack.pids(), stack.directory / "simulator.toml", _price(stack)
    jobs = stack.submit(3)
    for number, new in ((before["worker-deliveries-1"], "0.071"), (stack.process.pid, price)):
        times = {name: count + 1 for name, count in _reloads(stack).items()}
        assert len(times) == 6
        old = f'price_usd = "{_price(stack)}"'
        catalog.write_text(catalog.read_text().replace(old, f'price_usd = "{new}"'))
        os.kill(number, signal.SIGHUP)
        # A process that has just started reads the file once more by itself, so some may take it up twice.
        eventually(lambda times=times: all(_reloads(stack)[name] >= times[name] for name in times), SECONDS)
        assert _price(stack) == new
    assert stack.statuses(jobs) == ["COMPLETED"] * 3
    assert stack.pids() == before
