"""The real program `imagequeue worker`, for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from imagequeue.settings import PREFIX
from tests.builders import SECRET_KEY

PATIENCE = 60
QUEUE = "generate.interactive"
SLOTS = 2


@contextmanager
def running_worker(
    database_url: str, redis_url: str, folder: Path, **settings: str
) -> Generator[subprocess.Popen[bytes]]:
    """A worker with an empty catalog, its files in `folder`; `settings` are more variables."""
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
    command = [sys.executable, "-m", "cli", "worker", "--queues", QUEUE, "--concurrency", str(SLOTS)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()
