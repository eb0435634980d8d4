"""Celery publisher: sends doorbells, which carry ids, in one round trip to Redis.

It is called after the commit that released the attempts. A doorbell that is lost is sent again by the sweep.
How many wait is asked before that, so that no list grows while nobody takes from it
(docs/design/pipeline.md, "What waits in Redis").
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from imagequeue.domain.jobs import Lane
from imagequeue.failpoint import failpoint
from imagequeue.redis_server.client import PrefixedRedis
from imagequeue.store.attempts.calls import Doorbell
from worker.names import GENERATE, GENERATE_QUEUES

log = structlog.get_logger()


class CeleryPublisher:
    """Sends the doorbells of attempts; while Redis is away that is logged, not raised."""

    def __init__(self, app: Celery, redis: PrefixedRedis) -> None:
        self._app, self._redis = app, redis

    def attempts_waiting(self, lane: Lane) -> int | None:
        """The doorbells that no worker has taken yet of a lane's queue; None while Redis is away."""
        return self._waiting(GENERATE_QUEUES[lane])

    def attempts(self, doorbells: Sequence[Doorbell]) -> None:
        """Send the doorbells of attempts, each to the queue of its lane."""
        with self._producer(len(doorbells)) as producer:
            for number, doorbell in enumerate(doorbells):
                if number:
                    failpoint("dispatch.ringing")
                self._send(producer, GENERATE, (str(doorbell.attempt_id),), GENERATE_QUEUES[doorbell.lane])

    def _waiting(self, queue: str) -> int | None:
        """Celery's list of a queue has the queue's name."""
        try:
            return self._redis.llen(self._redis.key(queue))
        except RedisError as error:
            log.warning("queue_length_unknown", queue=queue, reason=type(error).__name__)
            return None

    def _send(self, producer: Any, task: str, arguments: tuple[object, ...], queue: str) -> None:
        self._app.send_task(task, args=arguments, queue=queue, producer=producer)

    @contextmanager
    def _producer(self, count: int) -> Generator[Any]:
        try:
            with self._app.producer_pool.acquire(block=True) as producer, _batch(producer):
                yield producer
        except (KombuError, RedisError, OSError) as error:
            log.warning("ringing_failed", count=count, reason=type(error).__name__)


def _batch(producer: Any) -> AbstractContextManager[object]:
    """Kombu 5.7 gathers messages into one round trip; the stubs do not know it yet."""
    return producer.batch()
