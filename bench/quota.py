"""Row `quota`: the used share of 24 RPM at strict upstreams, and their 429s.

Source: docs/design/rate-limiting.md, "Goal".

Four deployments of 2, 4, 6 and 12 RPM, more jobs than they can serve, 0 to 300 ms of jitter on the way to the
upstream, four worker processes, and Redis emptied in the middle. The used share of a deployment is the mean
over i of W / (t[i+R] - t[i]), from the times at which the upstream admitted calls after the first window; the
deployments are weighted by R. An ordinary bucket (`bucket.py`) calls upstreams of the same kind for
comparison.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench import bucket
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line

RPMS = (2, 4, 6, 12)
MODEL = "microsoft-mai-image-2-5"
WORKERS = 4
TARGET = 0.99
"""The used share that is due."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Seconds of a window, seconds that are measured after the first window, and the used share due."""

    name: str
    window: float
    seconds: float
    target: float


LONG = Setting("quota", 60, 400, TARGET)
# The guard does not shrink with the window, so its share is larger: at most 10 / (10 + 0.4 + 0.2) is used.
SHORT = Setting("quota-short", 10, 70, 10 / 10.6)


def run(setting: Setting, dispatchers: int) -> list[Line]:
    """Measure once."""
    with running(_upstreams(setting), [MODEL], _catalog(setting)) as stack:
        stack.submit(int(sum(RPMS) * (setting.seconds / setting.window + 8)), MODEL)
        with _baseline(stack, setting):
            for _ in range(dispatchers):
                stack.start("dispatcher")
            for _ in range(WORKERS):
                stack.start("worker", "--concurrency", "16")
            _wait_for_calls(stack)
            time.sleep(setting.window)
            first = stack.simulator("log", after=2**40)["last"]
            time.sleep(setting.seconds / 2)
            stack.runtime.redis.flushall()  # pyright: ignore[reportUnknownMemberType]
            time.sleep(setting.seconds / 2)
        after = stack.simulator("quota", after=first)["quotas"]
        whole = stack.simulator("quota")["quotas"]
        unsettled = stack.rows("SELECT count(*) FROM jobs WHERE status IN ('FAILED', 'ERROR')")[0][0]
    return _lines(setting, dispatchers, after, whole, unsettled)


def _wait_for_calls(stack: Stack) -> None:
    while not stack.simulator("log", upstream=f"east{RPMS[-1]}", wait=60)["entries"]:
        pass


def _lines(
    setting: Setting, dispatchers: int, after: Sequence[Any], whole: Sequence[Any], failed: int
) -> list[Line]:
    what = f"{dispatchers} dispatcher{'s' if dispatchers > 1 else ''}"
    used, refused = _used(after, "east"), _throttled(whole, "east")
    peak = max(one["maximum_in_window"] - one["rpm"] for one in whole if one["quota"].startswith("east"))
    each = ", ".join(
        f"{one['rpm']}: {one['utilisation'] or 0:.2%}" for one in after if "east" in one["quota"]
    )
    enough = used >= setting.target
    return [
        Line(setting.name, f"{what}: share used ({each})", f"{used:.2%}", f">= {setting.target:.2%}", enough),
        Line(setting.name, f"{what}: 429s", str(refused), "0", refused == 0),
        Line(setting.name, f"{what}: most over R in any window", str(peak), "<= 0", peak <= 0),
        Line(setting.name, f"{what}: jobs that failed", str(failed), "0", failed == 0),
        Line(setting.name, "ordinary bucket: share used", f"{_used(after, 'bucket'):.2%}"),
        Line(setting.name, "ordinary bucket: calls refused (429)", f"{_refused_share(whole):.1%}"),
    ]


def _used(report: Sequence[Any], prefix: str) -> float:
    mine = [one for one in report if one["quota"].startswith(prefix)]
    return sum(one["rpm"] * (one["utilisation"] or 0.0) for one in mine) / sum(one["rpm"] for one in mine)


def _throttled(report: Sequence[Any], prefix: str) -> int:
    return sum(one["throttled"] for one in report if one["quota"].startswith(prefix))


def _refused_share(report: Sequence[Any]) -> float:
    refused = _throttled(report, "bucket")
    admitted = sum(one["admitted"] for one in report if one["quota"].startswith("bucket"))
    return refused / max(1, refused + admitted)


@contextmanager
def _baseline(stack: Stack, setting: Setting) -> Generator[None]:
    stopping = threading.Event()
    threads = [
        threading.Thread(
            target=bucket.saturate, args=(f"{stack.simulator_url}/bucket{rpm}", rpm, setting.window, stopping)
        )
        for rpm in RPMS
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _upstreams(setting: Setting) -> dict[str, Any]:
    return {
        f"{kind}{rpm}": {
            "provider": "foundry",
            "keys": [KEY],
            "models": {
                "mai": {
                    "rpm": rpm,
                    "window_seconds": setting.window,
                    "latency_ms": [300, 1000],
                    "admission_jitter_ms": [0, 300],
                }
            },
        }
        for kind in ("east", "bucket")
        for rpm in RPMS
    }


def _catalog(setting: Setting) -> str:
    return "".join(deployment(f"east{rpm}", MODEL, rpm, window_seconds=setting.window) for rpm in RPMS)
