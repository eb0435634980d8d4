"""Row `eta`: how exact `eta_seconds` is (docs/design/rate-limiting.md, "Position and ETA").

200 jobs wait for two deployments of 90 and 60 RPM, in processes that have measured no call yet. A client
polls every other job over HTTP, round after round. The error of a job is the difference between the first
estimate that it got and the seconds that it then really took, on the database's clock. The target for the
median error is 10 % of the median wait, or 2 s if that is more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import httpx

from bench.api import start_api
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue.domain.ids import request_id

MODEL = "microsoft-mai-image-2-5"
RPMS = (90, 60)
JOBS = 200
ROUND_SECONDS = 2.0
"""Between two rounds of polls."""
PATIENCE_SECONDS = 180.0
"""For each wait, until the row has failed: 200 jobs at 150 a minute take 80 s."""
TARGET_SHARE, TARGET_SECONDS = 0.1, 2.0

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_ENDED = "SELECT id, extract(epoch FROM finished_at)::float8 FROM jobs"
_LEFT = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"


def run() -> list[Line]:
    """Measure once."""
    with running(_upstreams(), [MODEL], _catalog()) as stack:
        jobs = {request_id(MODEL, "generate", id_): id_ for id_ in stack.submit(JOBS, MODEL)}
        for command in (("dispatcher",), ("worker", "--concurrency", "64")):
            stack.start(*command)
        with start_api(stack).client() as client:
            estimates = _poll_until_drained(stack, client, list(jobs)[::2])
        ended = dict(map(tuple, stack.rows(_ENDED)))
    waits = [ended[jobs[name]] - at for name, (at, _) in estimates.items()]
    errors = [abs(eta - wait) for (_, eta), wait in zip(estimates.values(), waits, strict=True)]
    return [*_lines(waits, errors)]


def _poll_until_drained(
    stack: Stack, client: httpx.Client, names: list[str]
) -> dict[str, tuple[float, float]]:
    """By request id: when (seconds, database's clock) the first estimate was read, and the estimate."""
    estimates, until = dict[str, tuple[float, float]](), time.monotonic() + PATIENCE_SECONDS
    while stack.rows(_LEFT)[0][0]:
        if time.monotonic() > until:
            raise TimeoutError("the backlog was not drained")
        for name in names:
            if name not in estimates:
                at = stack.rows(_NOW)[0][0]
                eta = client.get(f"/v2/requests/status/{name}").raise_for_status().json().get("eta_seconds")
                if eta is not None:
                    estimates[name] = (at, eta)
        time.sleep(ROUND_SECONDS)
    return estimates


def _lines(waits: list[float], errors: list[float]) -> Iterator[Line]:
    wait, error = median(waits), median(errors)
    target = max(TARGET_SHARE * wait, TARGET_SECONDS)
    what = f"{JOBS} jobs drained, {len(waits)} estimates, median wait {wait:.1f} s: median error"
    yield Line(
        "eta", what, f"{error:.2f} s", f"<= {target:.1f} s", error <= target and len(waits) > JOBS // 4
    )
    yield Line("eta", "the same, as a share of the wait", f"{error / wait:.1%}")


def _upstreams() -> dict[str, object]:
    models = {rpm: {"mai": {"rpm": rpm, "latency_ms": [300, 1500]}} for rpm in RPMS}
    return {f"east{rpm}": {"provider": "foundry", "keys": [KEY], "models": models[rpm]} for rpm in RPMS}


def _catalog() -> str:
    return "".join(deployment(f"east{rpm}", MODEL, rpm) for rpm in RPMS)
