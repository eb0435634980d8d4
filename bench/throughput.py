"""Rows `throughput`, `cost` and `processes`: jobs from their submit until their webhook has come.

The quota is unlimited and the upstream answers at once with a PNG of 64 x 64. Beside ours the hand-written
stack (`baselines/hand_written.py`) does as many, in turn, with the same upstream, bucket and receiver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import psutil

from bench.alternate import Compared, alternate, spread
from bench.api import start_api
from bench.baseline import ask, counterparts, prepare, start_hand_written, start_hand_written_worker
from bench.load import MODEL, load, submit_request
from bench.stack import Stack, deployment, running
from bench.statements import statements
from bench.submit import UPSTREAMS
from bench.table import Line
from bench.traffic import Traffic
from bench.usage import cpu_seconds, since

JOBS, RUNS = 150, 5
"""Of each measurement: 10 s of two slow cores."""
OF_HAND_WRITTEN, MOST_MS, OF_ITS_COST = 0.5, 37.0, 2.0
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.02
_NOT_THE_STACK = ("load_client", "counterparts", "simulator", "celery", "uvicorn")
SHOWN = 25
"""Statements that the row `cost` prints, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Our stack and the hand-written one, with their ports, and the counterparts of both."""

    stack: Stack
    counterparts_url: str
    ours: int
    theirs: int
    request: str

    def measure_ours(self) -> float:
        """Jobs a second of ours."""
        return self._measure(self.ours)

    def measure_theirs(self) -> float:
        """Jobs a second of the hand-written stack."""
        return self._measure(self.theirs)

    def _measure(self, port: int) -> float:
        ask(self.counterparts_url, "_reset")
        began = time.perf_counter()
        load(port, [self.request], count=JOBS)
        until = began + _PATIENCE_SECONDS
        while ask(self.counterparts_url, "_counts")["webhooks"] < JOBS:
            if time.perf_counter() > until:
                raise TimeoutError("jobs without a webhook")
            time.sleep(_LOOK_SECONDS)
        return JOBS / (time.perf_counter() - began)


@contextmanager
def pair(processes: int = 1) -> Generator[Pair]:
    """Run both stacks; of ours so many API processes and workers for each queue."""
    with counterparts() as url, running(UPSTREAMS, [MODEL], catalog(url), durable=True) as stack:
        prepare(stack, url)
        host = url.removeprefix("http://")
        stack.environment["IMAGEQUEUE_EGRESS_ALLOW"] = host
        stack.environment["IMAGEQUEUE_STORAGE_URL"] = "s3://bench"
        api = start_api(stack, processes)
        start_workers(stack, processes)
        theirs = start_hand_written(stack)
        start_hand_written_worker(stack)
        yield Pair(stack, url, api.port, theirs, submit_request(api.keys[0], f"{url}/hooks"))


def catalog(url: str) -> str:
    """One deployment without a limit that could be felt, at the counterparts."""
    limits = {"pace": False, "max_in_flight": 100_000, "timeout_seconds": 600}
    return deployment("fast", MODEL, 100_000, **limits).replace("{simulator}/fast", url)


def start_workers(stack: Stack, processes: int) -> None:
    """The dispatcher, and so many workers for calls and for deliveries."""
    stack.start("dispatcher")
    for _ in range(processes):
        stack.start("worker", "--queues", "generate.interactive")
        stack.start("worker", "--queues", "deliveries")


def run_throughput() -> list[Line]:
    """Jobs a second, in turn."""
    with pair() as both:
        rates = alternate({"ours": both.measure_ours, "theirs": both.measure_theirs}, RUNS)
    what = "beside FastAPI, Celery, S3 and a POST by hand"
    compared = Compared(rates["ours"], rates["theirs"], "jobs/s")
    return [compared.line("throughput", what, least=OF_HAND_WRITTEN)]


def run_cost() -> list[Line]:
    """CPU of a job by process, in turn; then what a job writes and sends."""
    used: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    with pair() as both:

        def cost(side: str, measure: Callable[[], float]) -> Callable[[], float]:
            def measured() -> float:
                before = cpu_seconds()
                measure()
                used[side].append(_per_job(before, side))
                return sum(used[side][-1].values())

            return measured

        measures = {
            "ours": cost("ours", both.measure_ours),
            "theirs": cost("theirs", both.measure_theirs),
        }
        totals = alternate(measures, RUNS)
        before = Traffic.of(both.stack)
        both.measure_ours()
        traffic = Traffic.of(both.stack).since(before)
        with statements(both.stack) as sent:
            both.measure_ours()
    what = "CPU of a job beside the hand-written stack's"
    return [
        Compared(totals["ours"], totals["theirs"], "ms").line("cost", what, most=OF_ITS_COST),
        _milliseconds(median(totals["ours"])),
        *_by_process("ours", used["ours"][1:]),
        *_by_process("by hand", used["theirs"][1:]),
        Line("cost", "WAL of a job", f"{traffic.wal_bytes / JOBS / 1e3:.1f} kB"),
        Line("cost", "Redis commands of a job", f"{traffic.redis_commands / JOBS:.1f}"),
        Line("cost", "statements of a job", f"{sent.others.total() / JOBS:.1f}"),
        Line("cost", "commits of a job", f"{sent.commits / JOBS:.1f}"),
        *(Line("cost", text, f"{count / JOBS:.2f}") for text, count in sent.others.most_common(SHOWN)),
    ]


def _milliseconds(ms: float) -> Line:
    return Line("cost", "CPU of a job", f"{ms:.1f} ms", f"<= {MOST_MS} ms", ms <= MOST_MS)


def _per_job(before: Mapping[str, float], side: str) -> dict[str, float]:
    """Milliseconds of a job, by process of this side; the other side's processes are left out."""
    used = since(before, cpu_seconds())
    theirs = {name: ms for name, ms in used.items() if "hand_written" in name or name in ("redis", "celery")}
    ours = {name: ms for name, ms in used.items() if not any(word in name for word in _NOT_THE_STACK)}
    return {name: ms * 1000 / JOBS for name, ms in (ours if side == "ours" else theirs).items()}


def _by_process(side: str, runs: list[dict[str, float]]) -> list[Line]:
    names = sorted({name for run in runs for name in run})
    return [
        Line("cost", f"{side}: {name}", f"{median(run.get(name, 0.0) for run in runs):.2f} ms")
        for name in names
    ]


def run_processes() -> list[Line]:
    """Submits and whole jobs a second with one and with two processes of each kind."""
    lines = list[Line]()
    for processes in (1, 2):
        with pair(processes) as both:
            whole = alternate({"ours": both.measure_ours}, RUNS)["ours"]
        with running(UPSTREAMS, [MODEL], catalog("http://127.0.0.1:9"), durable=True) as stack:
            api = start_api(stack, processes)
            request = [submit_request(api.keys[0])]
            submits = alternate({"ours": lambda: load(api.port, request, seconds=3)}, RUNS)["ours"]  # noqa: B023  # used at once
        lines += [
            Line("processes", f"{processes} of each: submits", spread(submits, "/s")),
            Line("processes", f"{processes} of each: whole jobs", spread(whole, "/s")),
        ]
    cores = psutil.cpu_count() or 0
    return [*lines, Line("processes", "cores of the machine", str(cores))]
