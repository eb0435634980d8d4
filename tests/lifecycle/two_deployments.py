"""What tests of two deployments share: faults of `east`, counted calls, jobs driven to their end."""

from __future__ import annotations

import time
from typing import Any

from imagequeue.store.attempts import quota
from imagequeue.store.attempts.quota import Group
from tests import fleet
from tests.pipeline import Pipeline


def fault(of: Pipeline, **changes: Any) -> None:
    """Arm a fault at the upstream `east`: by default one that answers with a status."""
    of.fault(**{"kind": "status", "match": {"upstream": "east"}, **changes})


def no_more_faults(of: Pipeline) -> None:
    """Disarm every fault of every upstream."""
    of.heal()


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


def group(of: Pipeline, name: str = "east") -> Group:
    """A quota group as it is now."""
    with of.runtime.engine.begin() as connection:
        return quota.lock_group(connection, name)


def blocked_for(found: Group) -> float:
    """Seconds for which a group takes no call; not above zero: none."""
    return (found.state.blocked_until or 0.0) - found.state.now


def pause_of(of: Pipeline) -> float:
    """Seconds from the last 429 of `east` to the end of its block."""
    """How many seconds the last 429 at `east` has paused it."""
    (row,) = of.rows("""
        SELECT extract(epoch FROM blocked_until - throttled_at)::float8 AS seconds
        FROM quota_groups WHERE name = 'east'
    """)
    return row.seconds
