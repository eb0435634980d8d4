"""Row `overhead`: what passes between a submit and its upstream call while nothing else runs.

Ours: from the first byte of the POST to the arrival of the call at the upstream. Beside it Celery's hop,
which ours contains: from `.delay()` to the first line of the task, in a worker of threads. One by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self, cast

import httpx
from redis import Redis

from bench.alternate import Compared
from bench.api import start_api
from bench.baseline import ask, counterparts, prepare, start_hand_written_worker
from bench.baselines.hand_written import BEGUN
from bench.claim import percentile
from bench.load import MODEL
from bench.stack import running
from bench.submit import UPSTREAMS
from bench.table import Line
from bench.throughput import catalog, start_workers

RUNS, EACH = 5, 40
"""Runs, and jobs and tasks of each run."""
PAUSE_SECONDS = 0.05
"""Between two: the processes are idle again."""
MOST_MEDIAN, MOST_WORST = 2.0, 3.0
_WORKERS_SECONDS = 60.0
_WARM_UP = 10

Hop = Callable[[str], float]


def run() -> list[Line]:
    """Measure both, in turn."""
    with counterparts() as url, running(UPSTREAMS, [MODEL], catalog(url), durable=True) as stack:
        prepare(stack, url)
        stack.environment["IMAGEQUEUE_EGRESS_ALLOW"] = url.removeprefix("http://")
        api = start_api(stack)
        start_workers(stack, 1)
        start_hand_written_worker(stack)
        with api.client() as client, CeleryHop(stack.environment["BENCH_REDIS_URL"]) as celery:
            hops: dict[str, Hop] = {"ours": OwnHop(client, url), "celery": celery}
            _ = [hop(f"warm-up {number}") for number in range(_WARM_UP) for hop in hops.values()]
            runs = [_in_turn(hops, run) for run in range(RUNS)]
    ours, theirs = ([run[name] for run in runs] for name in hops)
    return [
        _line("p50", 0.5, ours, theirs, MOST_MEDIAN),
        _line("p99", 0.99, ours, theirs, MOST_WORST),
    ]


def _in_turn(hops: dict[str, Hop], run: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in hops}
    for number in range(EACH):
        for name, hop in hops.items():
            time.sleep(PAUSE_SECONDS)
            found[name].append(hop(f"run {run} number {number}") * 1000)
    return found


def _line(what: str, share: float, ours: list[list[float]], theirs: list[list[float]], most: float) -> Line:
    mine, its = ([percentile(run, share) for run in runs] for runs in (ours, theirs))
    what = f"submit to upstream call beside Celery's hop, {what}"
    return Compared(mine, its, "ms").line("overhead", what, most=most)


class OwnHop:
    """Submits a job and waits for its call."""

    def __init__(self, client: httpx.Client, counterparts_url: str) -> None:
        self._client, self._url = client, counterparts_url

    def __call__(self, prompt: str) -> float:
        """Seconds from the submit to the call."""
        began = time.monotonic()
        path = f"/{MODEL}/v1/{MODEL}-request"
        self._client.post(path, json={"prompt": prompt}).raise_for_status()
        while (called := self._called(prompt)) is None:
            time.sleep(PAUSE_SECONDS)
            if time.monotonic() - began > _WORKERS_SECONDS:
                raise TimeoutError("no upstream call")
        return called - began

    def _called(self, prompt: str) -> float | None:
        time.sleep(PAUSE_SECONDS)  # the call is on its way, and asking would take the processor from it
        called = cast("dict[str, dict[str, float]]", ask(self._url, "_counts"))["called"]
        return called.get(prompt)


class CeleryHop:
    """Sends the task `begin`, and waits until it has noted its first line."""

    def __init__(self, redis_url: str) -> None:
        from bench.baselines import hand_written  # noqa: PLC0415  # it reads its broker's URL when it is imported

        hand_written.celery.conf.update(broker_url=redis_url)
        self._begin = hand_written.begin
        self._redis = Redis.from_url(redis_url)  # pyright: ignore[reportUnknownMemberType]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def __call__(self, prompt: str) -> float:
        """Seconds from `.delay()` to the task."""
        del prompt
        began = time.monotonic()
        self._begin.delay()
        popped = cast("tuple[bytes, bytes] | None", self._redis.blpop([BEGUN], timeout=int(_WORKERS_SECONDS)))
        if popped is None:
            raise TimeoutError("Celery began no task")
        return float(popped[1]) - began
