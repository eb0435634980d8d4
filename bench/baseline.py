"""Starts the baselines (`baselines/`) and the counterparts (`counterparts.py`) beside a stack."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from bench.stack import ROOT, Stack
from cli.stack.servers.port import free

_START_SECONDS = 60.0
_NOOP, _HAND_WRITTEN = "bench.baselines.noop:app", "bench.baselines.hand_written:app"
_USUAL = "bench.baselines.usual:app"
CONCURRENCY = 64
"""Tasks at a time of the hand-written worker: as many as ours makes calls."""


def start_noop(stack: Stack) -> int:
    """Start the routes that store nothing; their port."""
    return _serve(stack, _NOOP)


def start_hand_written(stack: Stack) -> int:
    """Start the API of the hand-written stack; its port."""
    return _serve(stack, _HAND_WRITTEN)


def start_usual(stack: Stack) -> int:
    """Start the API that tutorials show; its port."""
    return _serve(stack, _USUAL)


def start_hand_written_worker(stack: Stack) -> None:
    """Start its worker."""
    options = ("--pool", "threads", "--concurrency", str(CONCURRENCY), "--loglevel", "error")
    more = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    stack.start("worker", *options, *more, program=("celery", "-A", "bench.baselines.hand_written:celery"))


def prepare(stack: Stack, counterparts_url: str = "http://127.0.0.1:9") -> None:
    """Tell the baselines and ours where their servers are; the bucket is the counterparts'."""
    redis_url = stack.environment["IMAGEQUEUE_REDIS_URL"]
    stack.environment |= {
        "BENCH_REDIS_URL": f"{redis_url.rsplit('/', 1)[0]}/1",
        "BENCH_COUNTERPARTS": counterparts_url,
        "IMAGEQUEUE_S3_ENDPOINT_URL": counterparts_url,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "opens nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def counterparts() -> Generator[str]:
    """Run the upstream, the bucket and the receiver while the context is open; their URL."""
    command = [sys.executable, "-m", "bench.counterparts"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:  # noqa: S603  # this project's own program
        try:
            line = child.stdout.readline().decode() if child.stdout else ""
            if not line.startswith("counterparts "):
                raise RuntimeError("the counterparts did not start")
            yield line.split()[1]
        finally:
            child.terminate()


def _serve(stack: Stack, app: str) -> int:
    port = free()
    options = ("--port", str(port), "--no-access-log", "--log-level", "warning")
    stack.start(app, *options, program=("uvicorn",))
    _wait_until_it_answers(port)
    return port


def _wait_until_it_answers(port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while not _answers(port):
        if time.monotonic() > until:
            raise TimeoutError("the baseline did not become ready")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def ask(url: str, path: str) -> dict[str, float]:
    """What `path` of the counterparts answers: `_reset`, `_hold`, `_open`, or `_counts`."""
    return httpx.get(f"{url}/{path}", trust_env=False, timeout=60).raise_for_status().json()
