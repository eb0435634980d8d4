"""Row `backlog`: claims a second, and how soon an interactive job is claimed, behind 1,000 to 1,000,000 jobs.

The jobs of a backlog are one batch. The dispatcher runs in this process, so that no upstream and no worker
is in the numbers; each pass grants ten calls. The overhead runs from the submit to the end of the pass that
claims the job. Each backlog has a server of its own, and they are measured in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import claim
from bench.alternate import Compared, alternate
from bench.claim import AT_ONCE, percentile
from bench.load import MODEL
from bench.stack import Stack, deployment, running
from bench.submit import UPSTREAMS
from bench.table import Line
from imagequeue.lifecycle.dispatch.dispatch import Dispatch
from imagequeue.lifecycle.dispatch.eligibility import Eligibility

FEWEST, MORE = 1_000, (100_000, 1_000_000)
RUNS, PASSES, WARM_UP, SUBMITS = 10, 30, 5, 20
"""Runs that count; of each run: passes of the dispatcher, those before them, and submits."""
TAKEN = (RUNS + 1) * (PASSES + WARM_UP) * AT_ONCE
"""Jobs that the passes take; so many more are stored, so that the backlog never gets smaller than it says."""
SLOWER = 1.1
"""Target: at most 10 % worse than with the smallest backlog."""
_CATALOG = deployment("unused", MODEL, 100_000, pace=False, max_in_flight=10**6)


@dataclass(frozen=True, slots=True)
class Backlog:
    """A stack on which so many jobs wait."""

    stack: Stack

    def claims(self) -> float:
        """Claims a second, in the median of some passes."""
        watch = claim.measure(self.stack.runtime.engine, PASSES, WARM_UP)
        return AT_ONCE / percentile(watch.passes, 0.5) * 1000

    def overhead(self) -> float:
        """The median milliseconds from an interactive submit to its claim."""
        engine, eligibility = self.stack.runtime.engine, Eligibility(claim.catalog())
        dispatch = Dispatch(engine, eligibility, lambda _: None, at_once=1)
        return percentile([self._submitted(dispatch) for _ in range(SUBMITS)], 0.5)

    def _submitted(self, dispatch: Dispatch) -> float:
        began = time.perf_counter()
        (job_id,) = self.stack.submit(1, MODEL)
        while self.stack.rows("SELECT status FROM jobs WHERE id = :id", id=job_id)[0][0] == "QUEUED":
            dispatch.run_once()
        return (time.perf_counter() - began) * 1000


def run() -> list[Line]:
    """Measure all sizes in turn, each in a database of its own."""
    with ExitStack() as opened:
        backlogs = {size: Backlog(opened.enter_context(_waiting(size))) for size in (FEWEST, *MORE)}
        claims = _in_turn({size: one.claims for size, one in backlogs.items()})
        overheads = _in_turn({size: one.overhead for size, one in backlogs.items()})
    return [line for size in MORE for line in _lines(size, claims, overheads)]


@contextmanager
def _waiting(size: int) -> Generator[Stack]:
    with running(UPSTREAMS, [MODEL], _CATALOG) as stack:
        claim.load(stack.runtime.engine, size + TAKEN)
        yield stack


def _in_turn(measures: Mapping[int, Callable[[], float]]) -> dict[int, Sequence[float]]:
    found = alternate({str(size): measure for size, measure in measures.items()}, RUNS)
    return {size: found[str(size)] for size in measures}


def _lines(
    size: int, claims: Mapping[int, Sequence[float]], overheads: Mapping[int, Sequence[float]]
) -> Iterator[Line]:
    beside = f"{size:,} jobs waiting beside {FEWEST:,}"
    rates = Compared(claims[size], claims[FEWEST], "/s")
    yield rates.line("backlog", f"claims, {beside}", least=round(1 / SLOWER, 2))
    times = Compared(overheads[size], overheads[FEWEST], "ms")
    yield times.line("backlog", f"submit to claim, {beside}", most=SLOWER)
