"""Rows `idle` and `start`: what a stack takes that has nothing to do, and how long its second start takes.

`imagequeue up` runs the whole stack: its supervisor, Postgres, Redis, API, dispatcher, four workers. Beside
it run a Celery worker of one thread and a FastAPI process that import their frameworks and nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from bench.alternate import spread
from bench.baseline import prepare, start_hand_written_worker, start_noop
from bench.load import MODEL
from bench.stack import KEY, ROOT, running
from bench.submit import CATALOG, UPSTREAMS
from bench.table import Line
from bench.usage import cpu_seconds, pss_mebibytes, since

SETTLE_SECONDS, WINDOW_SECONDS = 15.0, 60.0
"""After the start, until loops without work look seldom (10 s); then what is measured."""
STARTS = 5
MOST_SHARE, MOST_MIB, MOST_START_SECONDS = 0.03, 90.0, 6.0
"""Of a core; PSS of each Python process; of the second start."""
_STOP_SECONDS = 60.0
_SERVERS = ("postgres", "redis")
_NOT_INHERITED = ("IMAGEQUEUE_", "PYTHONDONTWRITEBYTECODE")
"""Variables of the shell. An installation has its bytecode; to compile it again takes a sixth of a start."""
_BARE = ("uvicorn noop", "celery hand_written")


@dataclass(frozen=True, slots=True)
class _Use:
    """CPU seconds in a minute by process, and MiB (PSS) of each process."""

    cpu: dict[str, float]
    memory: list[tuple[str, float]]


def run_idle() -> list[Line]:
    """Measure CPU and memory of the idle stack, and of the bare processes at the same time."""
    with (
        tempfile.TemporaryDirectory(prefix="imagequeue-bench-") as folder,
        _up(Path(folder)) as (child, _),
        running(UPSTREAMS, [MODEL], CATALOG) as stack,
    ):
        prepare(stack)
        start_noop(stack)
        start_hand_written_worker(stack)
        time.sleep(SETTLE_SECONDS)
        supervisor = psutil.Process(child.pid)
        before, everything = cpu_seconds(supervisor), cpu_seconds()
        time.sleep(WINDOW_SECONDS)
        ours = _Use(since(before, cpu_seconds(supervisor)), pss_mebibytes(supervisor))
        bare = since(everything, cpu_seconds())
        beside = _Use({name: bare.get(name, 0.0) for name in _BARE}, pss_mebibytes(psutil.Process()))
    share = sum(ours.cpu.values()) / WINDOW_SECONDS
    target = f"< {MOST_SHARE:.0%} of a core"
    return [
        Line("idle", "CPU of the whole stack", f"{share:.1%} of a core", target, share < MOST_SHARE),
        *(_cpu(name, seconds) for name, seconds in (ours.cpu | beside.cpu).items()),
        *_memory(ours.memory),
        *(Line("idle", f"PSS: {name}", f"{mib:.0f} MiB") for name, mib in beside.memory if name in _BARE),
    ]


def _cpu(name: str, seconds: float) -> Line:
    return Line("idle", f"CPU: {name}", f"{seconds / WINDOW_SECONDS * 60:.2f} s a minute")


def _memory(found: list[tuple[str, float]]) -> list[Line]:
    servers = {name: sum(mib for other, mib in found if other == name) for name in _SERVERS}
    python = [(name, mib) for name, mib in found if name not in _SERVERS and mib > 1]
    return [
        Line("idle", "PSS of all", f"{sum(mib for _, mib in found):.0f} MiB"),
        *(Line("idle", f"PSS: {name}", f"{mib:.0f} MiB") for name, mib in servers.items()),
        *(
            Line("idle", f"PSS: {name}", f"{mib:.0f} MiB", f"<= {MOST_MIB:.0f} MiB", mib <= MOST_MIB)
            for name, mib in python
        ),
    ]


def run_start() -> list[Line]:
    """Start a stack in a new folder, then again and again."""
    seconds = list[float]()
    with tempfile.TemporaryDirectory(prefix="imagequeue-bench-") as folder:
        for _ in range(STARTS + 1):
            with _up(Path(folder)) as (_, took):
                seconds.append(took)
    first, again = seconds[0], seconds[1:]
    holds = median(again) < MOST_START_SECONDS
    return [
        Line("start", "first start, to ready", f"{first:.1f} s"),
        Line("start", "second start, to ready", spread(again, "s"), f"< {MOST_START_SECONDS:.0f} s", holds),
    ]


@contextmanager
def _up(folder: Path) -> Generator[tuple[subprocess.Popen[bytes], float]]:
    """`imagequeue up` with an upstream that is never called; the process, and its seconds to ready."""
    catalog = folder / "catalog.toml"
    text = CATALOG.replace("{simulator}", "http://127.0.0.1:9")
    catalog.write_text(f'[[models]]\nid = "{MODEL}"\nprice_usd = "0.039"\n{text}', "utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    command = [sys.executable, "-m", "cli", "up", "--port", "0", "--data-dir", str(folder / "data")]
    began = time.monotonic()
    with subprocess.Popen(  # noqa: S603  # this project's own program
        [*command, "--catalog", str(catalog)],
        cwd=ROOT,
        env=inherited | {"BENCH_UPSTREAM_KEY": KEY, "IMAGEQUEUE_EGRESS_ALLOW": "127.0.0.1:9"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            assert child.stdout is not None
            if not any(line.startswith(b"ready ") for line in child.stdout):
                raise RuntimeError("the stack did not become ready")
            yield child, time.monotonic() - began
        finally:
            child.terminate()
            child.wait(_STOP_SECONDS)
