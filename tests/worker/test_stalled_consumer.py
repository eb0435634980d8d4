"""The real worker, its consumer standing still in the middle of its work: it notices, and exits."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from redis import Redis

from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.signals import NOT_WORKING
from imagequeue.store.attempts.calls import Doorbell
from tests.worker.running import PATIENCE, QUEUE, running_worker
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher


def _await_consumer(redis: Redis, worker: subprocess.Popen[bytes]) -> None:
    """Wait until Celery's consumer waits for messages."""
    deadline = time.monotonic() + PATIENCE
    while not any(client["cmd"] == "brpop" for client in _clients(redis)):
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _clients(redis: Redis) -> list[dict[str, str]]:
    return redis.client_list()  # pyright: ignore[reportUnknownMemberType]


def test_a_worker_whose_consumer_stands_still_exits_with_70(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {"IMAGEQUEUE_FAILPOINT": "worker.received:sleep", "IMAGEQUEUE_LIVENESS_SECONDS": "0.1"}
    with (
        Redis.from_url(redis_url) as redis,  # pyright: ignore[reportUnknownMemberType]
        running_worker(database_url, redis_url, tmp_path, **settings) as worker,
    ):
        _await_consumer(redis, worker)
        doorbells = [Doorbell(new_id(), Lane.INTERACTIVE) for _ in range(3)]
        CeleryPublisher(make_app(redis_url), redis).attempts(doorbells)
        assert worker.wait(PATIENCE) == NOT_WORKING
        assert (redis.hlen("unacked"), redis.llen(QUEUE)) == (1, 2), "it had begun to consume"
