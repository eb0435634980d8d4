"""SIGHUP to any process, or to `up`, lets every process of a real stack take up a changed catalog."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.live import MODEL, LiveStack
from tests.stack.conftest import eventually

pytestmark = pytest.mark.long

SECONDS = 60.0


def _reloads(stack: LiveStack) -> dict[str, int]:
    """How often each process that holds a catalog has taken one up."""
    names = [name for name in stack.pids() if name.startswith(("api", "dispatcher", "worker"))]
    logs = {name: (stack.directory / "logs" / f"{name}.log").read_text() for name in names}
    return {name: text.count("catalog_reloaded") for name, text in logs.items()}


def _price(stack: LiveStack) -> str:
    models = stack.client.get("/v1/models").json()["data"]
    return next(model["price_usd"] for model in models if model["id"] == MODEL)


def test_a_hangup_of_any_process_reaches_all_of_them_and_jobs_go_on(tmp_path: Path) -> None:
    with LiveStack(tmp_path / "data") as stack:
        before, catalog = stack.pids(), stack.directory / "simulator.toml"
        jobs = stack.submit(3)
        for asked, number in (("worker", before["worker-deliveries-1"]), ("up", stack.process.pid)):
            times = {name: count + 1 for name, count in _reloads(stack).items()}
            assert len(times) == 5
            price = f"0.0{len(asked)}1"
            text = catalog.read_text()
            catalog.write_text(text.replace(f'price_usd = "{_price(stack)}"', f'price_usd = "{price}"'))
            os.kill(number, signal.SIGHUP)
            eventually(lambda times=times: _reloads(stack) == times, SECONDS)
            assert _price(stack) == price
        assert stack.statuses(jobs) == ["COMPLETED"] * 3
        assert stack.pids() == before
