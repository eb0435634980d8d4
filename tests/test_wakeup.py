"""Wake-ups through a real Redis, and without one."""

from __future__ import annotations

import threading
import time

import pytest

from imagequeue.domain.ids import new_id
from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import open_redis
from imagequeue.wakeup import (
    INPUTS_WAITING,
    JOBS_FINAL,
    JOBS_WAITING,
    POLLS_DUE,
    Heard,
    WakeupListener,
    WakeupPublisher,
    Wakeups,
)
from tests.builders import NO_REDIS


@pytest.fixture
def listener(redis_url: str) -> WakeupListener:
    listener = WakeupListener(open_redis(read_redis_url(redis_url)), "channel")
    assert listener.hear(120) == Heard(missed=True)
    return listener


def names_of(listener: WakeupListener) -> list[str]:
    """The names of the next wake-up."""
    heard = listener.hear(120)
    assert heard is not None
    assert not heard.missed
    return list(heard.names)


def test_a_wakeup_arrives_at_once_with_its_names(redis_url: str, listener: WakeupListener) -> None:
    publisher = WakeupPublisher(open_redis(read_redis_url(redis_url)), "channel")
    timer = threading.Timer(0.05, publisher.publish, args=("a", "b"))
    timer.start()
    began = time.monotonic()
    assert sorted(names_of(listener)) == ["a", "b"]
    assert time.monotonic() - began < 60
    timer.join()
    publisher.publish()
    assert listener.wait(120)
    assert not listener.wait(0.05)
    publisher.close()
    listener.close()


def test_a_listener_knows_whether_wakeups_can_reach_it(listener: WakeupListener) -> None:
    assert listener.is_subscribed
    listener.close()
    nowhere = WakeupListener(open_redis(read_redis_url(NO_REDIS)), "channel")
    assert not nowhere.wait(0.0)
    assert not nowhere.is_subscribed
    nowhere.close()


def test_what_was_asked_for_is_published_before_the_end(redis_url: str, listener: WakeupListener) -> None:
    publisher, names = (
        WakeupPublisher(open_redis(read_redis_url(redis_url)), "channel"),
        set(map(str, range(1200))),
    )
    publisher.publish(*names)
    publisher.close()
    heard: set[str] = set()
    while len(heard) < len(names):
        heard.update(names_of(listener))
    assert heard == names
    listener.close()


def test_wakeups_that_come_faster_than_they_are_read_are_passed_on_before_the_last_one_has_come(
    redis_url: str, listener: WakeupListener
) -> None:
    """Who waits for the first would otherwise wait for as long as others come behind it."""
    names = [str(number) for number in range(5000)]  # a message takes more than a microsecond to read
    redis = open_redis(read_redis_url(redis_url))
    pipeline = redis.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
    for name in names:
        pipeline.publish("channel", name)  # pyright: ignore[reportUnknownMemberType]
    pipeline.execute()
    parts = [names_of(listener)]
    assert len(parts[0]) < len(names)
    while sum(map(len, parts)) < len(names):
        parts.append(names_of(listener))
    assert [name for part in parts for name in part] == names
    listener.close()


def test_without_redis_publishing_returns_at_once_and_waiting_takes_its_time() -> None:
    publisher, listener = (
        WakeupPublisher(open_redis(read_redis_url(NO_REDIS)), "channel"),
        WakeupListener(open_redis(read_redis_url(NO_REDIS)), "channel"),
    )
    began = time.monotonic()
    for _ in range(1000):
        publisher.publish("x")
    assert time.monotonic() - began < 20
    assert not listener.wait(0.2)
    assert time.monotonic() - began >= 0.2
    publisher.close()
    listener.interrupt()
    assert not listener.wait(60)
    listener.close()


def test_a_listener_hears_again_after_its_connection_was_cut_and_knows_that_it_may_have_missed_something(
    redis_url: str, listener: WakeupListener
) -> None:
    redis = open_redis(read_redis_url(redis_url))
    redis.client_kill_filter(_type="pubsub")  # pyright: ignore[reportUnknownMemberType]
    publisher = WakeupPublisher(redis, "channel")
    assert listener.hear(120) == Heard(missed=True)
    publisher.publish("x")
    assert names_of(listener) == ["x"]
    publisher.close()
    listener.close()


def test_each_wake_up_of_a_process_goes_to_its_own_channel(redis_url: str) -> None:
    channels = JOBS_WAITING, INPUTS_WAITING, POLLS_DUE, JOBS_FINAL
    listeners = {
        channel: WakeupListener(open_redis(read_redis_url(redis_url)), channel) for channel in channels
    }
    for listener in listeners.values():
        assert listener.hear(120) == Heard(missed=True)
    wakeups, job_ids = Wakeups(open_redis(read_redis_url(redis_url))), [new_id(), new_id()]
    wakeups.jobs_waiting()
    wakeups.inputs_waiting()
    wakeups.polls_due()
    wakeups.jobs_final(job_ids)
    heard = {channel: names_of(listener) for channel, listener in listeners.items()}
    assert heard == {
        JOBS_WAITING: [],
        INPUTS_WAITING: [],
        POLLS_DUE: [],
        JOBS_FINAL: [str(job_id) for job_id in job_ids],
    }
    wakeups.close()
    for listener in listeners.values():
        listener.close()
