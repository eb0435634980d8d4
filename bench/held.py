"""Row `memory`: what a worker holds for each call in flight, with 1,000 slow calls of images of 1.5 MB.

The upstream holds all calls, so the worker has a thread, a connection and a job for each; then it answers
them all at once, each with an image that does not compress.
"""

from __future__ import annotations

import time

import psutil

from bench.baseline import ask, counterparts, prepare
from bench.counterparts import LARGE_BYTES
from bench.load import MODEL
from bench.stack import Stack, running
from bench.submit import UPSTREAMS
from bench.table import Line
from bench.throughput import catalog

CALLS = 1000
MOST_MB = 3.0
"""For each call, beyond its image."""
_PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 0.2
_DONE = "SELECT count(*) FROM jobs WHERE status = 'COMPLETED'"


def run() -> list[Line]:
    """Measure once: idle, with all calls in flight, and the peak while the images are stored."""
    with counterparts() as url, running(UPSTREAMS, [MODEL], catalog(url)) as stack:
        prepare(stack, url)
        stack.environment["IMAGEQUEUE_EGRESS_ALLOW"] = url.removeprefix("http://")
        child = stack.start("worker", "--queues", "generate.interactive", "--concurrency", str(CALLS))
        worker = psutil.Process(child.pid)
        stack.start("dispatcher")
        stack.submit(1, MODEL)
        stack.wait_for(_DONE, 1, _PATIENCE_SECONDS)
        idle = worker.memory_info().rss
        ask(url, "_hold")
        stack.submit(CALLS, MODEL)
        _wait_until_held(url)
        held = worker.memory_info().rss
        ask(url, "_open")
        peak = _peak(stack, worker)
    return _lines(idle / 1e6, held / 1e6, peak / 1e6)


def _wait_until_held(url: str) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while ask(url, "_counts")["held"] < CALLS:
        if time.monotonic() > until:
            raise TimeoutError(f"{ask(url, '_counts')['held']} calls are in flight")
        time.sleep(_LOOK_SECONDS)


def _peak(stack: Stack, worker: psutil.Process) -> int:
    """The most bytes of the worker until all jobs are final."""
    peak, until = 0, time.monotonic() + _PATIENCE_SECONDS
    while stack.rows(_DONE)[0][0] < CALLS + 1:
        peak = max(peak, worker.memory_info().rss)
        if time.monotonic() > until:
            raise TimeoutError("jobs without an end")
        time.sleep(_LOOK_SECONDS)
    return peak


def _lines(idle: float, held: float, peak: float) -> list[Line]:
    waiting, storing = (held - idle) / CALLS, (peak - idle) / CALLS
    beyond = storing - LARGE_BYTES / 1e6
    return [
        Line("memory", "worker without calls", f"{idle:.0f} MB"),
        Line("memory", f"each of {CALLS} calls in flight", f"{waiting:.2f} MB"),
        Line("memory", "peak while all images come at once, of each call", f"{storing:.2f} MB"),
        Line("memory", "the same, beyond its image", f"{beyond:.2f} MB", f"< {MOST_MB} MB", beyond < MOST_MB),
    ]
