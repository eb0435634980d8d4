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
    "imagequeue/lifecycle/backlog.py",
}
DECIDING = (
    "imagequeue/domain/quota.py",
    "imagequeue/domain/throttling.py",
    "imagequeue/domain/breaker.py",
    "imagequeue/store/quota.py",
    "imagequeue/store/attempts.py",
    "imagequeue/store/claims.py",
    "imagequeue/store/closings.py",
    "imagequeue/store/settlements.py",
    "imagequeue/store/deployments.py",
    "imagequeue/store/processes.py",
    "imagequeue/lifecycle/dispatch.py",
    "imagequeue/lifecycle/claim.py",
    "imagequeue/lifecycle/room.py",
    "imagequeue/lifecycle/generate.py",
    "imagequeue/lifecycle/slot.py",
    "imagequeue/lifecycle/poll.py",
    "imagequeue/lifecycle/settle.py",
    "imagequeue/lifecycle/deployments.py",
    "imagequeue/lifecycle/rescue.py",
    "imagequeue/lifecycle/sweep.py",
    "imagequeue/lifecycle/vigil.py",
    "imagequeue/lifecycle/heartbeat.py",
    "worker/loops.py",
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
