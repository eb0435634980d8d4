"""The benchmark's row `quota`, scaled down: its processes, short windows, counts and no times.

One, then two, then four dispatchers; four workers; Redis emptied in the middle; and the wall clock of every
process is wrong by five seconds, of one half before and of the other behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest

from bench.stack import KEY, Stack, deployment, running
from tests import fleet

pytestmark = pytest.mark.long

MODEL = "microsoft-mai-image-2-5"
RPMS = (2, 4, 6, 12)
WINDOW = 3
EACH = 26
"""Jobs for each number of dispatchers: more than every window of all deployments together holds."""
DISPATCHERS = (1, 1, 2)
"""So many more begin in each round: one, two, four."""
WORKERS = 4
SECONDS = 120.0
FINAL = "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL"


def catalog() -> str:
    """The way to the simulator is as uneven as a busy machine makes it, and the guard pays for that."""
    return "".join(deployment(f"east{rpm}", MODEL, rpm, window_seconds=WINDOW, guard_ms=1000) for rpm in RPMS)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The servers, and four workers."""
    given = {"window_seconds": WINDOW, "admission_jitter_ms": [0, 300], "latency_ms": [50, 300]}
    upstreams = fleet.upstreams({f"east{rpm}": {"rpm": rpm, **given} for rpm in RPMS})
    assert KEY == fleet.KEY
    with running(upstreams, [MODEL], catalog()) as made:
        yield made


def test_no_window_is_exceeded_by_any_number_of_dispatchers_with_wrong_clocks(stack: Stack) -> None:
    clocks = cycle((-5, 5))
    for _ in range(WORKERS):
        stack.start("worker", "--concurrency", "16", program=("tests.shifted", str(next(clocks))))
    submitted = 0
    for more in DISPATCHERS:
        for _ in range(more):
            stack.start("dispatcher", program=("tests.shifted", str(next(clocks))))
        stack.submit(EACH, MODEL)
        submitted += EACH
        stack.wait_for(FINAL, submitted - EACH // 2, SECONDS)
        if more == DISPATCHERS[-1]:
            stack.runtime.redis.flushall()  # pyright: ignore[reportUnknownMemberType]
        stack.wait_for(FINAL, submitted, SECONDS)
    fleet.assert_never_exceeded(stack.simulator_url)
    report = fleet.quotas(stack.simulator_url)
    assert sum(one["admitted"] for one in report.values()) == submitted
    assert all(one["admitted"] > one["rpm"] for one in report.values())
    assert stack.rows("SELECT DISTINCT status FROM jobs") == [("COMPLETED",)]
