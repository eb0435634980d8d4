"""What a channel of the broker does to Redis, one client does for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import open_redis
from worker.app import make_app


def test_a_channel_makes_one_client_whatever_is_done_in_it(redis_url: str) -> None:
    with make_app(read_redis_url(redis_url)).connection_for_write() as connection:
        channel = cast("Any", connection.default_channel)
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        with channel.conn_or_acquire(client="given") as given:
            assert given == "given"


def test_after_a_new_connection_the_client_has_its_pool(redis_url: str) -> None:
    with make_app(read_redis_url(redis_url)).connection_for_write() as connection:
        with cast("Any", connection.default_channel).conn_or_acquire() as before:
            assert before.ping()
        connection.close()
        channel = cast("Any", connection.default_channel)
        with channel.conn_or_acquire() as after:
            assert after.ping()
            assert after.connection_pool is channel.pool


def test_its_keys_have_the_prefix_of_the_stack(redis_url: str) -> None:
    address = replace(read_redis_url(redis_url), prefix="tenant:")
    with (
        make_app(address).connection_for_write() as connection,
        cast("Any", connection.default_channel).conn_or_acquire() as client,
    ):
        client.pipeline().set("name", "value").execute()
    with open_redis(read_redis_url(redis_url)) as redis:
        assert redis.get("tenant:name") == b"value"
