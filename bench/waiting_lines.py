"""Row `backlog-lines`: what a million waiting lines of a batch cost others, and how soon they are stopped.

The batch runs at one deployment, two calls a second. Another deployment, whose upstream answers at once,
serves interactive jobs. Their time from submit to answer, the status route and the claim are measured on a
stack without the batch and on one with it, both of which run, in turn; none may grow by more than a tenth.

Then the batch is paused, resumed and cancelled over HTTP. No call of it may begin later than 2 s after either
of the two.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple
from uuid import UUID

from bench.alternate import Compared, alternate
from bench.api import Api, start_api
from bench.claim import Stopwatch, percentile
from bench.ingest import ingested, upload
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue.domain.ids import batch_name, new_id, request_id
from imagequeue.lifecycle.dispatch.dispatch import Dispatch
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.store import processes
from imagequeue.store.processes import ProcessRecord

LINES, FEW_LINES = 1_000_000, 20_000
BATCH, OTHER = "microsoft-mai-image-2-5", "microsoft-mai-image-2e"
RPM, OTHER_RPM = 120, 100_000
RUNS, JOBS, POLLS, PASSES = 10, 25, 100, 100
"""Runs that count, and jobs, polls and passes of each."""
AT_ONCE = 10
"""Jobs that a pass claims."""
MOST_TIMES = 1.1
STOP_SECONDS, WATCHED_SECONDS = 2.0, 8.0
"""The target, and for how long calls are looked for: a batch that is not stopped begins sixteen meanwhile."""
PATIENCE_SECONDS = 180.0

_BEGUN = """
    SELECT count(*) FROM attempts WHERE deployment = 'batch' AND called_at > to_timestamp(:since)
"""
_LAST = """
    SELECT extract(epoch FROM max(called_at))::float8 FROM attempts
    WHERE deployment = 'batch' AND called_at > to_timestamp(:since)
"""
_REGISTERED = "SELECT count(*) FROM processes WHERE started_at > to_timestamp(:since)"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class Stop(NamedTuple):
    """Seconds until the request was answered, and until the last new call; None: there was none."""

    answered: float
    last_call: float | None


def run(lines: int = LINES) -> list[Line]:
    """Measure without the batch and beside it, and stop it twice."""
    with _stack() as (plain, plain_api), _stack() as (stack, api):
        _, batch_id = ingested(stack, upload(stack, BATCH, lines))
        stack.execute(["ANALYZE"])
        compared = {**_requests(plain, plain_api, stack, api), **_claims(plain, stack)}
        with _serving(stack):
            stops = {verb: _stopped(stack, api, batch_id, verb) for verb in ("pause", "cancel")}
    lasting = [
        one.line("backlog-lines", f"{what}, beside {lines:,} waiting lines and without", most=MOST_TIMES)
        for what, one in compared.items()
    ]
    return [*lasting, *_stops(lines, stops)]


@contextmanager
def _stack() -> Generator[tuple[Stack, Api]]:
    """A stack with an API and the worker of batches."""
    with running(_upstreams(), [BATCH, OTHER], _catalog()) as stack:
        stack.start("worker", "--queues", "backfills")
        yield stack, start_api(stack)


def _requests(plain: Stack, plain_api: Api, stack: Stack, api: Api) -> dict[str, Compared]:
    """Jobs and polls of the stack with the lines and of the plain one."""
    with _serving(plain), _serving(stack):
        found = alternate(
            {
                "jobs": lambda: median(_jobs(api)),
                "plain jobs": lambda: median(_jobs(plain_api)),
                "polls": lambda: median(_polls(stack, api)),
                "plain polls": lambda: median(_polls(plain, plain_api)),
            },
            RUNS,
        )
    return {
        "interactive job, submit to answer": Compared(found["jobs"], found["plain jobs"], "ms"),
        "status route": Compared(found["polls"], found["plain polls"], "ms"),
    }


def _claims(plain: Stack, stack: Stack) -> dict[str, Compared]:
    """Claims on both, while no dispatcher runs. They come last, because these jobs are never called."""
    ours, theirs = Claimant(stack), Claimant(plain)
    found = alternate(
        {
            "half": lambda: median(ours.claims()),
            "plain half": lambda: median(theirs.claims()),
            "most": lambda: percentile(ours.claims(), 0.99),
            "plain most": lambda: percentile(theirs.claims(), 0.99),
        },
        RUNS,
    )
    return {
        f"claim of {AT_ONCE} jobs, median": Compared(found["half"], found["plain half"], "ms"),
        f"claim of {AT_ONCE} jobs, p99": Compared(found["most"], found["plain most"], "ms"),
    }


@contextmanager
def _serving(stack: Stack) -> Generator[None]:
    """Let a dispatcher and a worker run, and end them."""
    since = stack.rows(_NOW)[0][0]
    children = [stack.start("dispatcher"), stack.start("worker", "--concurrency", "8")]
    try:
        stack.wait_for(_REGISTERED, len(children), PATIENCE_SECONDS, since=since)
        yield
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


def _jobs(api: Api) -> list[float]:
    """Milliseconds of interactive jobs, one after the other."""
    times = list[float]()
    with api.client() as client:
        for number in range(JOBS):
            began = time.perf_counter()
            body = {"prompt": f"Benchmark {number}", "sync_mode": True}
            client.post(f"/{OTHER}/v1/{OTHER}-request", json=body).raise_for_status()
            times.append((time.perf_counter() - began) * 1000)
    return times


def _polls(stack: Stack, api: Api) -> list[float]:
    """Milliseconds of polls of a job that has ended."""
    newest = """
        SELECT jobs.id FROM jobs JOIN flows ON flows.id = flow_id
        WHERE model_id = :model AND finished_at IS NOT NULL ORDER BY jobs.id DESC LIMIT 1
    """
    ((job_id,),) = stack.rows(newest, model=OTHER)
    path, times = f"/v2/requests/status/{request_id(OTHER, 'generate', job_id)}", list[float]()
    with api.client() as client:
        for _ in range(POLLS):
            began = time.perf_counter()
            client.get(path).raise_for_status()
            times.append((time.perf_counter() - began) * 1000)
    return times


class Claimant:
    """A dispatcher in this process, beside a worker that takes any number of calls and makes none."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._watch = stack, Stopwatch()
        self._engine = stack.runtime.engine.execution_options()
        self._watch.watch(self._engine)
        self._account_id = stack.open_account("claims")
        self._worker = ProcessRecord(new_id(), "worker", "bench", 1, ("generate.interactive",), 10**6)
        with self._engine.begin() as connection:
            processes.register(connection, self._worker)
        eligibility = Eligibility(stack.runtime.catalog)
        self._dispatch = Dispatch(self._engine, eligibility, lambda _: None, at_once=AT_ONCE)

    def claims(self) -> list[float]:
        """Milliseconds of the claims of a run."""
        self._watch.claims.clear()
        for _ in range(PASSES):
            self._stack.submit(AT_ONCE, OTHER, account_id=self._account_id)
            with self._engine.begin() as connection:
                processes.beat(connection, self._worker.id, self._worker.slots)
            if self._watch.measure_pass(self._dispatch) != AT_ONCE:
                raise RuntimeError("a pass of the dispatcher granted less than it could")
        return list(self._watch.claims)


def _stopped(stack: Stack, api: Api, batch_id: UUID, verb: str) -> Stop:
    """Let the batch run until a call begins, and stop it."""
    path = f"/v2/batches/{batch_name(batch_id)}"
    with api.client() as client:
        if verb != "pause":
            client.post(f"{path}/resume").raise_for_status()
        stack.wait_for(_BEGUN, 1, PATIENCE_SECONDS, since=stack.rows(_NOW)[0][0])
        asked, began = stack.rows(_NOW)[0][0], time.perf_counter()
        client.post(f"{path}/{verb}").raise_for_status()
        answered = time.perf_counter() - began
    time.sleep(WATCHED_SECONDS)
    last = stack.rows(_LAST, since=asked)[0][0]
    return Stop(answered, None if last is None else last - asked)


def _stops(lines: int, stops: dict[str, Stop]) -> Iterator[Line]:
    for verb, stop in stops.items():
        value, last = f"{stop.answered * 1000:.0f} ms", stop.last_call
        yield Line("backlog-lines", f"{verb} of {lines:,} lines: request to its answer", value)
        what = f"{verb} of {lines:,} lines: request to the last new call"
        value = "no call after it" if last is None else f"{last:.1f} s"
        holds = last is None or last <= STOP_SECONDS
        yield Line("backlog-lines", what, value, f"<= {STOP_SECONDS:.0f} s", holds)


def _upstreams() -> dict[str, object]:
    return {
        name: {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": rpm, "latency_ms": [0, 0]}}}
        for name, rpm in (("batch", RPM), ("other", OTHER_RPM))
    }


def _catalog() -> str:
    return deployment("batch", BATCH, RPM) + deployment("other", OTHER, OTHER_RPM, pace=False)
