"""Row `retention`: submits and claims while the history of a day is dropped.

Source: docs/design/pipeline.md, "Retention".

A million jobs ended a month ago. Submits and claims are measured alone, in turns, by one thread; and again
while another process drops the history without a pause, where a dispatcher pauses for a third of the time.
The target is that neither's p99 doubles. It is the database that is measured: no object is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from bench import history
from bench.claim import Stopwatch, percentile
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue import wiring
from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.dispatch.dispatch import Dispatch
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.runtime import open_runtime
from imagequeue.settings import load_settings
from imagequeue.store import processes
from imagequeue.store.attempts.quota import ensure_groups
from imagequeue.store.processes import ProcessRecord

MODEL = "microsoft-mai-image-2-5"
JOBS = 1_000_000
ROUNDS, AT_ONCE = 300, 10
"""Rounds of a measurement; submits, one by one, and then claims, all at once, of each round."""
TARGET_RATIO = 2.0

_FORGOTTEN = "SELECT count(*) FROM jobs WHERE forgotten_at IS NOT NULL"


@dataclass(slots=True)
class Measured:
    """Milliseconds of each submit, and of each transaction that granted and claimed."""

    submits: list[float] = field(default_factory=list[float])
    claims: list[float] = field(default_factory=list[float])


def run(jobs: int = JOBS) -> list[Line]:
    """Measure once."""
    with running(_upstreams(), [MODEL], _catalog()) as stack:
        with stack.runtime.engine.begin() as connection:
            ensure_groups(connection, stack.runtime.catalog.quota_groups.values())
        stack.submit(1, MODEL)  # makes the flow
        history.load(stack, jobs, stack.account_id, MODEL)
        sizes = history.bytes_of_a_job(stack, jobs)
        _vacuum(stack)
        alone = _measure(stack)
        dropping = stack.start(program=("bench.retention",))
        stack.wait_for(_FORGOTTEN, least=1, seconds=60)
        began, before = time.monotonic(), stack.rows(_FORGOTTEN)[0][0]
        beside = _measure(stack)
        rate = (stack.rows(_FORGOTTEN)[0][0] - before) / (time.monotonic() - began)
        if dropping.poll() is not None:
            raise RuntimeError("the history was gone before the measurement ended")
    return [*_lines(alone, beside, rate), *_sizes(sizes)]


def drop() -> None:
    """Drop the history until it is gone, as the loop of a dispatcher does."""
    runtime = open_runtime(load_settings(), name="bench")
    retention = wiring.job_retention(runtime)
    while retention.run_once():
        pass
    runtime.close()


def _measure(stack: Stack) -> Measured:
    queues = ("generate.interactive", "generate.backfill")
    worker = ProcessRecord(new_id(), "worker", "bench", 1, queues, 10**6)
    engine, watch, found = stack.runtime.engine.execution_options(), Stopwatch(), Measured()
    with engine.begin() as connection:
        processes.register(connection, worker)
    dispatch = Dispatch(engine, Eligibility(stack.runtime.catalog), lambda _: None, at_once=AT_ONCE)
    watch.watch(engine)
    for _ in range(ROUNDS):
        for _ in range(AT_ONCE):
            began = time.perf_counter()
            stack.submit(1, MODEL)
            found.submits.append((time.perf_counter() - began) * 1000)
        with stack.runtime.engine.begin() as connection:
            processes.beat(connection, worker.id, worker.slots)
        if watch.measure_pass(dispatch):
            found.claims.append(watch.grants[-1])
    return found


def _vacuum(stack: Stack) -> None:
    with stack.runtime.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("RESET statement_timeout"))


def _lines(alone: Measured, beside: Measured, rate: float) -> Iterator[Line]:
    for what, before, after in (
        ("submit", alone.submits, beside.submits),
        (f"grant and claim of {AT_ONCE}", alone.claims, beside.claims),
    ):
        medians = f"{percentile(before, 0.5):.1f} / {percentile(after, 0.5):.1f} ms"
        p99s = percentile(before, 0.99), percentile(after, 0.99)
        yield Line("retention", f"{what}: median alone / while history is dropped", medians)
        both = f"{p99s[0]:.1f} / {p99s[1]:.1f} ms"
        holds = p99s[1] <= TARGET_RATIO * p99s[0]
        yield Line("retention", f"{what}: p99, the same", both, f"{TARGET_RATIO:g} times", holds)
    yield Line("retention", "jobs dropped in a second, meanwhile", f"{rate:.0f}")


def _sizes(sizes: dict[str, tuple[float, float]]) -> Iterator[Line]:
    for table, (rows, indexes) in sizes.items():
        yield Line("retention", f"bytes of a job in {table}: rows / indexes", f"{rows:.0f} / {indexes:.0f}")


def _upstreams() -> dict[str, Any]:
    return {"east": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 1}}}}


def _catalog() -> str:
    return deployment("east", MODEL, 100_000, pace=False, max_in_flight=10**6)


if __name__ == "__main__":
    drop()
