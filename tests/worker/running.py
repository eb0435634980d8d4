"""The real programs `imagequeue worker`, `dispatcher` and `api`, for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagequeue.settings import PREFIX
from tests.builders import SECRET_KEY

PATIENCE = 120
QUEUE = "generate.interactive"
SLOTS = 2
PROGRAM = (sys.executable, "-m", "cli")


@contextmanager
def running_worker(
    database_url: str, redis_url: str, folder: Path, program: Sequence[str] = PROGRAM, **settings: str
) -> Generator[subprocess.Popen[bytes]]:
    """A worker with an empty catalog, its files in `folder`; `settings` are more variables."""
    command = (*program, "worker", "--queues", QUEUE, "--concurrency", str(SLOTS))
    with running_process(command, database_url, redis_url, folder, **settings) as process:
        yield process


@contextmanager
def running_process(
    command: Sequence[str], database_url: str, redis_url: str, folder: Path, **settings: str
) -> Generator[subprocess.Popen[bytes]]:
    """A process with an empty catalog, its files in `folder`; it is killed at the end."""
    catalog = folder / "catalog.toml"
    catalog.write_text("models = []\ndeployments = []\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {
        "IMAGEQUEUE_DATABASE_URL": database_url.replace("+psycopg", ""),
        "IMAGEQUEUE_REDIS_URL": redis_url,
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "IMAGEQUEUE_STORAGE_URL": f"file://{folder}/media",
        "IMAGEQUEUE_SPILL_DIR": f"{folder}/spill",
        **settings,
    }
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()
