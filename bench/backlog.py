"""Row `backlog`: claims a second, and how soon an interactive job is claimed, behind 1,000 to 1,000,000 jobs.

The jobs of the backlog are one batch. The dispatcher runs in this process, so that no upstream and no worker
is in the numbers; each pass grants ten calls. The overhead runs from the submit to the end of the pass that
claims the job.
"""

from __future__ import annotations

import time
from statistics import median

from bench import claim
from bench.claim import AT_ONCE, percentile
from bench.load import MODEL
from bench.stack import Stack, deployment, running
from bench.submit import UPSTREAMS
from bench.table import Line
from imagequeue.lifecycle.dispatch.dispatch import Dispatch
from imagequeue.lifecycle.dispatch.eligibility import Eligibility

SIZES = (1_000, 100_000, 1_000_000)
RUNS, PASSES, WARM_UP, SUBMITS = 3, 15, 10, 10
"""Of each run: passes and warm-up take fewer jobs than the smallest backlog has."""
SLOWER = 1.1
"""Target: at most 10 % worse than with the smallest backlog."""
_CATALOG = deployment("unused", MODEL, 100_000, pace=False, max_in_flight=10**6)


def run() -> list[Line]:
    """Measure all sizes, each in a database of its own."""
    found = [_measure(size) for size in SIZES]
    (base_rate, base_ms), lines = found[0], list[Line]()
    for size, (rate, ms) in zip(SIZES, found, strict=True):
        slower, later = base_rate / rate, ms / base_ms
        lines += [
            Line(
                "backlog",
                f"{size} waiting: claims",
                f"{rate:.0f}/s",
                f">= {1 / SLOWER:.0%} of 1,000",
                slower <= SLOWER,
            ),
            Line(
                "backlog",
                f"{size} waiting: submit to claim",
                f"{ms:.1f} ms",
                f"<= {SLOWER:.0%}",
                later <= SLOWER,
            ),
        ]
    return lines


def _measure(size: int) -> tuple[float, float]:
    """Claims a second, and milliseconds from an interactive submit to its claim; medians of the runs."""
    with running(UPSTREAMS, [MODEL], _CATALOG) as stack:
        claim.load(stack.runtime.engine, size)
        rates, overheads = list[float](), list[float]()
        for _ in range(RUNS):
            watch = claim.measure(stack.runtime.engine, PASSES, WARM_UP)
            rates.append(AT_ONCE / percentile(watch.passes, 0.5) * 1000)
            overheads.append(_overhead(stack))
    return median(rates), median(overheads)


def _overhead(stack: Stack) -> float:
    """The median milliseconds of some submits."""
    dispatch = Dispatch(stack.runtime.engine, Eligibility(claim.catalog()), lambda _: None, at_once=1)
    times = list[float]()
    for _ in range(SUBMITS):
        began = time.perf_counter()
        (job_id,) = stack.submit(1, MODEL)
        while stack.rows("SELECT status FROM jobs WHERE id = :id", id=job_id)[0][0] == "QUEUED":
            dispatch.run_once()
        times.append((time.perf_counter() - began) * 1000)
    return percentile(times, 0.5)
