"""Two stacks on one server and one database of it: neither sees what the other has there.

Each has a user of its own, who may use the keys and channels that begin with the stack's prefix and no other.
So the server itself refuses, and lists, whatever a stack would do outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis
from sqlalchemy import Engine

from imagequeue.client_rate_limit import Allowance, ClientRateLimit
from imagequeue.domain.errors import ConfigurationError
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta.publish import ForecastPublisher
from imagequeue.redis_server.address import RedisAddress, read_redis_url
from imagequeue.redis_server.client import PrefixedRedis, open_redis
from imagequeue.settings import load_settings
from imagequeue.store.attempts.calls import Doorbell
from imagequeue.wakeup import JOBS_FINAL, WakeupListener, WakeupPublisher
from tests.builders import catalog
from tests.eventually import eventually
from tests.worker.running import QUEUE, running_worker
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher
from worker.liveness import Activity, Liveness

STACKS = "one", "two"


class Shared:
    """A server with a user for each stack, and the stacks' addresses."""

    def __init__(self, url: str) -> None:
        self.admin: Any = Redis.from_url(url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType]
        self.admin.execute_command("ACL", "LOG", "RESET")
        self.urls: dict[str, str] = {}
        for name in STACKS:
            rules = "reset", "on", f">{name}", f"~{name}:*", f"&{name}:*", "+@all"
            self.admin.execute_command("ACL", "SETUSER", name, *rules)
            self.urls[name] = f"redis://{name}:{name}@127.0.0.1:{urlsplit(url).port}/0"
        self.clients = [open_redis(self.address(name)) for name in STACKS]

    def address(self, name: str) -> RedisAddress:
        return replace(read_redis_url(self.urls[name]), prefix=f"{name}:")

    def close(self) -> None:
        """End the stacks; nothing was tried outside of a prefix, and nothing is there."""
        for client in self.clients:
            client.close()
        refused = [entry["object"] for entry in self.admin.acl_log()]
        outside = [key for key in self.admin.scan_iter() if not key.startswith(("one:", "two:"))]
        self.admin.execute_command("ACL", "DELUSER", *STACKS)
        self.admin.close()
        assert (refused, outside) == ([], [])


@pytest.fixture
def shared(redis_url: str) -> Iterator[Shared]:
    made = Shared(redis_url)
    yield made
    made.close()


def _take(redis: PrefixedRedis) -> float | None:
    (taken,) = ClientRateLimit(redis).take([Allowance("a key", rpm=1)])
    return taken and taken.wait_seconds


def test_the_limit_of_a_key_is_that_of_its_stack(shared: Shared) -> None:
    one, two = shared.clients
    assert _take(one) == 0
    assert (_take(one) or 0) > 0
    assert _take(two) == 0


def test_a_wake_up_reaches_its_own_stack(shared: Shared) -> None:
    listeners = [WakeupListener(client, JOBS_FINAL) for client in shared.clients]
    for listener in listeners:
        heard = listener.hear(120)
        assert heard is not None
        assert heard.missed, "it has subscribed"
    for client, name in zip(shared.clients, STACKS, strict=True):
        publisher = WakeupPublisher(client, JOBS_FINAL)
        publisher.publish(name)
        publisher.close()
    for listener, name in zip(listeners, STACKS, strict=True):
        heard = listener.hear(120)
        assert heard is not None
        assert list(heard.names) == [name]
        listener.close()


def test_each_stack_has_its_own_forecast_and_its_own_turn_to_publish_it(
    shared: Shared, engine: Engine
) -> None:
    eligibility = Eligibility(catalog())
    one, two = (ForecastPublisher(engine, client, lambda: eligibility) for client in shared.clients)
    assert (one.run_once(), two.run_once()) == (1, 1)


@pytest.mark.long
def test_a_worker_answers_the_doorbells_of_its_own_stack(
    shared: Shared, database_url: str, tmp_path: Path
) -> None:
    one, two = (
        CeleryPublisher(make_app(shared.address(name)), client)
        for name, client in zip(STACKS, shared.clients, strict=True)
    )
    for publisher, client in zip((one, two), shared.clients, strict=True):
        liveness = Liveness(client, [QUEUE], Activity(1), pytest.fail)
        assert (liveness.run_once(), publisher.attempts_waiting(Lane.INTERACTIVE)) == (0, 0)
        publisher.attempts([Doorbell(new_id(), Lane.INTERACTIVE)])
        assert (liveness.run_once(), publisher.attempts_waiting(Lane.INTERACTIVE)) == (1, 1)
    own = {"IMAGEQUEUE_REDIS_PREFIX": "one:"}
    with running_worker(database_url, shared.urls["one"], tmp_path, **own):
        eventually(lambda: one.attempts_waiting(Lane.INTERACTIVE) == 0)
        assert two.attempts_waiting(Lane.INTERACTIVE) == 1


@pytest.mark.parametrize("prefix", ["with space", "new\nline", "a{b}", "*", "x" * 101])
def test_a_prefix_that_would_have_to_be_quoted_is_refused(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("IMAGEQUEUE_DATABASE_URL", "postgresql://db/queue")
    monkeypatch.setenv("IMAGEQUEUE_REDIS_PREFIX", prefix)
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_REDIS_PREFIX: "):
        load_settings()
