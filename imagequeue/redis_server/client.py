"""A client of Redis, made from its address."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from imagequeue.redis_server.address import RedisAddress


class PrefixedRedis(Redis):
    """A client of a Redis that stacks share: `key` names the keys and the channels of this stack."""

    prefix: str = ""

    def key(self, name: str) -> str:
        """The name of a key or a channel, as the server has it."""
        return self.prefix + name


def open_redis(address: RedisAddress, *, patience: float = 5.0) -> PrefixedRedis:
    """Open a pool of connections to Redis.

    A command may take `patience` seconds, connecting at most 2 s (docs/design/pipeline.md, "Celery"). A
    broken connection is replaced once and at once. The library's default retries for seconds, which is too
    long for a server that has only doorbells, wake-ups and counters.
    """
    redis = PrefixedRedis(
        **_place(address),
        db=address.db,
        username=address.username,
        password=address.password,
        socket_timeout=patience,
        socket_connect_timeout=min(2.0, patience),
        health_check_interval=10,
        retry=Retry(NoBackoff(), 1),
    )
    redis.prefix = address.prefix
    return redis


def _place(address: RedisAddress) -> dict[str, Any]:
    if address.socket:
        return {"unix_socket_path": address.socket}
    tls = {} if address.tls is None else {"ssl": True, **address.tls}
    return {"host": address.host, "port": address.port, **tls}
