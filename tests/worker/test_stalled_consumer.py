"""The real worker, its consumer standing still in the middle of its work: it notices, and exits (issue 3)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from redis import Redis

from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.settings import PREFIX
from imagequeue.store.attempts import Doorbell
from tests.builders import SECRET_KEY
from worker.app import make_app
from worker.exits import NOT_WORKING
from worker.ring import Doorbells

PATIENCE = 60
QUEUE = "generate.interactive"


@contextmanager
def _worker(
    database_url: str, redis_url: str, folder: Path, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
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
    command = [sys.executable, "-m", "cli", "worker", "--queues", QUEUE, "--concurrency", "2"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def _await_consumer(redis: Redis, worker: subprocess.Popen[bytes]) -> None:
    """Wait until Celery's consumer waits for messages."""
    deadline = time.monotonic() + PATIENCE
    while not any(client["cmd"] == "brpop" for client in cast("list[Any]", redis.client_list())):
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_whose_consumer_stands_still_exits_with_70(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {"IMAGEQUEUE_FAILPOINT": "worker.received:sleep", "IMAGEQUEUE_LIVENESS_SECONDS": "0.1"}
    with (
        Redis.from_url(redis_url) as redis,  # pyright: ignore[reportUnknownMemberType]
        _worker(database_url, redis_url, tmp_path, **settings) as worker,
    ):
        _await_consumer(redis, worker)
        doorbells = [Doorbell(new_id(), Lane.INTERACTIVE) for _ in range(3)]
        Doorbells(make_app(redis_url)).attempts(doorbells)
        assert worker.wait(PATIENCE) == NOT_WORKING
        assert (redis.hlen("unacked"), redis.llen(QUEUE)) == (1, 2), "it had begun to consume"
