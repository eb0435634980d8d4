"""What tests of two deployments share: faults of `east`, counted calls, jobs driven to their end."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests import fleet
from tests.pipeline import Pipeline


def fault(of: Pipeline, **changes: Any) -> None:
    """Arm a fault at the upstream `east`: by default one that answers with a status."""
    of.fault(**{"kind": "status", "match": {"upstream": "east"}, **changes})


def no_more_faults(of: Pipeline) -> None:
    """Disarm every fault of every upstream."""
    httpx.delete(f"{of.simulator.url}/_sim/faults", trust_env=False).raise_for_status()


def calls_at(of: Pipeline, name: str) -> int:
    """How many calls an upstream has got, admitted or refused with a 429."""
    report = fleet.quotas(of.simulator.url)[name]
    return report["admitted"] + report["throttled"]


def complete(of: Pipeline, count: int) -> None:
    """Dispatch and answer until so many jobs are completed; back-offs pass at once."""
    deadline = time.monotonic() + fleet.PATIENCE
    while len(of.rows("SELECT 1 FROM jobs WHERE status = 'COMPLETED'")) < count:
        assert time.monotonic() < deadline, of.rows("SELECT state, deployment, reason FROM attempts")
        of.dispatch.run_once()
        of.answer()
