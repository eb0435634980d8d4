"""The events of a job, as a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from imagequeue.domain.jobs import JobStatus
from tests.api.service import Client, Service, serving, title_and_message
from tests.api.streams import Stream, move


def test_events_follow_a_job_to_its_end_without_redis(client: Client, engine: Engine) -> None:
    request_id = client.generate().json()["request_id"]
    stream = Stream(client, request_id)
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    assert stream.status() == "QUEUED"
    move(engine, request_id, JobStatus.PROCESSING)
    assert stream.status() == "PROCESSING"
    move(engine, request_id, JobStatus.COMPLETED)
    assert stream.status() == "COMPLETED"
    assert stream.rest() == []
    stream.close()


def test_events_resume_behind_the_last_one_seen(client: Client, engine: Engine) -> None:
    request_id = client.generate().json()["request_id"]
    move(engine, request_id, JobStatus.PROCESSING)
    stream = Stream(client, request_id)
    first = stream.event()["id"]
    second = stream.event()["id"]
    stream.close()
    move(engine, request_id, JobStatus.ERROR)
    resumed = Stream(client, request_id, first)
    assert [resumed.status(), resumed.status()] == ["PROCESSING", "ERROR"]
    resumed.close()
    resumed = Stream(client, request_id, second)
    last = resumed.event()
    assert json.loads(last["data"])["request_id"] == request_id
    resumed.close()
    ended = Stream(client, request_id, last["id"])
    assert ended.rest() == []
    ended.close()


@pytest.mark.parametrize("last", ["x", "-1", "9" * 19, "9" * 40])
def test_a_wrong_last_event_id_is_named(client: Client, last: str) -> None:
    request_id = client.generate().json()["request_id"]
    answer = client.http.get(f"/v2/requests/{request_id}/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 400
    assert "Last-Event-ID" in title_and_message(answer)[1]
    assert answer.headers["X-Request-Id"] == request_id


def test_the_event_of_another_stream_is_refused_and_not_waited_on(
    client: Client, service: Service, engine: Engine
) -> None:
    ours, theirs = client.generate().json()["request_id"], service.client("other").generate().json()
    move(engine, theirs["request_id"], JobStatus.PROCESSING)
    with engine.connect() as connection:
        newest = connection.execute(text("SELECT max(id) FROM events")).scalar_one()
    for last in (newest, newest + 1):  # another job's, and nobody's yet
        answer = client.http.get(f"/v2/requests/{ours}/events", headers={"Last-Event-ID": str(last)})
        assert answer.status_code == 400
        assert "Last-Event-ID" in title_and_message(answer)[1]


@pytest.fixture
def with_redis(engine: Engine, database_url: str, redis_url: str) -> Iterator[Service]:
    with serving(engine, database_url, redis_url=SecretStr(redis_url)) as service:
        yield service


def test_a_cancel_reaches_streams_of_every_waiter(with_redis: Service) -> None:
    client = with_redis.client()
    request_id = client.generate().json()["request_id"]
    streams = [Stream(client, request_id) for _ in range(3)]
    assert [stream.status() for stream in streams] == ["QUEUED"] * 3
    cancel = threading.Thread(target=client.http.post, args=(f"/v2/requests/{request_id}/cancel",))
    cancel.start()
    assert [stream.status() for stream in streams] == ["FAILED"] * 3
    cancel.join()
    for stream in streams:
        stream.close()
