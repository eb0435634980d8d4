"""Only the database's clock decides about the quota: machines' wall clocks may differ.

By construction: what plans, grants, calls, settles and rescues never reads a wall clock. It compares times in
SQL, or waits on its own monotonic clock for a duration that the database told.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WALL = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
MAY = {
    # The cursors compare ids that API processes made by their clocks, a minute's difference aside: `backlog`.
    "imagequeue/lifecycle/dispatch/backlog.py",
}
DECIDING = (
    "imagequeue/loops.py",
    "imagequeue/domain/quota.py",
    "imagequeue/domain/upstream_throttling.py",
    "imagequeue/domain/breaker.py",
    "imagequeue/store/attempts/quota.py",
    "imagequeue/store/attempts/calls.py",
    "imagequeue/store/jobs/claims.py",
    "imagequeue/store/attempts/closings.py",
    "imagequeue/store/jobs/settlements.py",
    "imagequeue/store/attempts/deployments.py",
    "imagequeue/store/processes.py",
    "imagequeue/lifecycle/dispatch/dispatch.py",
    "imagequeue/lifecycle/dispatch/claim.py",
    "imagequeue/lifecycle/dispatch/concurrency.py",
    "imagequeue/lifecycle/generate/generate.py",
    "imagequeue/lifecycle/generate/start_window.py",
    "imagequeue/lifecycle/generate/poll.py",
    "imagequeue/lifecycle/settle/settle.py",
    "imagequeue/lifecycle/settle/job_end.py",
    "imagequeue/lifecycle/settle/feedback.py",
    "imagequeue/lifecycle/sweep/rescue.py",
    "imagequeue/lifecycle/sweep/sweep.py",
    "imagequeue/lifecycle/sweep/failure_detector.py",
    "imagequeue/lifecycle/sweep/heartbeat.py",
    "worker/dispatcher.py",
    "worker/worker.py",
)


def wall_clock_reads(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in WALL:
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (node.lineno for alias in node.names if alias.name in {"time", "time_ns"})


@pytest.mark.parametrize("name", DECIDING)
def test_no_wall_clock_is_read_where_the_quota_is_decided(name: str) -> None:
    assert list(wall_clock_reads(ROOT / name)) == []


def test_the_check_finds_a_wall_clock() -> None:
    assert [name for name in MAY if list(wall_clock_reads(ROOT / name))] == sorted(MAY)
