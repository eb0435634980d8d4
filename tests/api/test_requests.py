"""Lists, attempts, events, cancelling, the wallet: what an account sees of its jobs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from imagequeue.domain.ids import new_id
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import JobStatus, Lane
from imagequeue.lifecycle.submit.submission import Submission
from imagequeue.lifecycle.submit.submit import submit
from imagequeue.store.attempts.quota import ensure_groups
from tests.api.service import Client, Service, serving, title_and_message
from tests.builders import MODEL


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["request_id"] for job in answer.json()["data"]]


def move(engine: Engine, request_id: str, status: JobStatus) -> None:
    """What a dispatcher or settle does to the row and its events."""
    job_id = request_id.rpartition("_")[2]
    finished = "clock_timestamp()" if status.is_final else "NULL"
    with engine.begin() as connection:
        statement = f"UPDATE jobs SET status = :status, finished_at = {finished} WHERE id = CAST(:id AS uuid)"  # noqa: S608
        connection.execute(text(statement), {"id": job_id, "status": status.value})
        connection.execute(
            text("INSERT INTO events (job_id, status) VALUES (CAST(:id AS uuid), :status)"),
            {"id": job_id, "status": status.value},
        )


def test_the_list_is_paged_newest_first(client: Client) -> None:
    made = [client.generate().json()["request_id"] for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    for _ in range(3):
        page = client.http.get("/v2/requests", params=query)
        seen += ids(page)
        query["cursor"] = page.json()["next_cursor"]
    assert seen == made[::-1]
    assert query["cursor"] is None


def test_the_list_is_filtered(client: Client, engine: Engine) -> None:
    first = client.generate().json()["request_id"]
    second = client.generate("/microsoft-mai-image-2/v1/microsoft-mai-image-2-request").json()["request_id"]
    move(engine, first, JobStatus.PROCESSING)

    def listed(**query: str) -> list[str]:
        return ids(client.http.get("/v2/requests", params=query))

    assert listed(status="PROCESSING") == [first]
    assert listed(status="PROCESSING,QUEUED") == [second, first]
    assert listed(model="microsoft-mai-image-2") == [second]
    assert listed(model="MAI-Image-2.5") == [first]
    assert listed(model="no-longer-there") == []
    assert listed(batch=str(new_id())) == []


def test_the_time_filters_compare_what_is_shown(client: Client, engine: Engine) -> None:
    """An id has the clock of the API's machine, `created_at` the database's: they may lie minutes apart."""
    first, second = (client.generate().json()["request_id"] for _ in range(2))
    with engine.begin() as connection:
        for request_id, shown in ((first, "180.0129 s"), (second, "181.0129 s")):
            statement = text(f"""
                UPDATE jobs SET created_at = date_trunc('minute', created_at) + interval '{shown}'
                WHERE id = CAST(:id AS uuid)
            """)  # noqa: S608
            connection.execute(statement, {"id": request_id.rpartition("_")[2]})

    def listed(**query: str) -> list[str]:
        return ids(client.http.get("/v2/requests", params=query))

    early, late = (client.status(request_id).json()["created_at"] for request_id in (first, second))
    assert listed(created_after=early) == [second, first]
    assert listed(created_after=late) == [second]
    assert listed(created_before=early) == []
    assert listed(created_before=late) == [first]
    assert listed(created_after=early, created_before=late) == [first]
    assert listed(created_after=_later(late)) == []
    assert listed(created_before=_later(late)) == [second, first]


def _later(shown: str) -> str:
    """The next moment that can be shown."""
    return (datetime.fromisoformat(shown) + timedelta(milliseconds=1)).isoformat()


def test_the_list_is_filtered_by_batch(service: Service) -> None:
    client, batch = service.client(), new_id()
    client.generate()
    one, other = (_line(client, batch_id) for batch_id in (batch, new_id()))
    submit(service.runtime, [one, other], wake=lambda: None)
    (listed,) = client.http.get("/v2/requests", params={"batch": str(batch)}).json()["data"]
    with service.engine.connect() as connection:
        statement = text("SELECT jobs.id FROM jobs JOIN flows ON flows.id = flow_id WHERE batch_id = :batch")
        expected = connection.execute(statement, {"batch": batch}).scalar_one()
    assert listed["request_id"].endswith(str(expected))


def _line(client: Client, batch_id: UUID) -> Submission:
    """A line of a batch."""
    return Submission(
        account_id=client.account_id,
        api_key_id=client.key_id,
        request=ImageRequest(MODEL, "a line of a batch"),
        dialect="openai",
        fingerprint=batch_id.bytes,
        lane=Lane.BACKFILL,
        batch_id=batch_id,
    )


def test_a_repeated_status_asks_for_both(client: Client, engine: Engine) -> None:
    first, second = (client.generate().json()["request_id"] for _ in range(2))
    move(engine, first, JobStatus.FAILED)
    query = {"status": ["FAILED", "QUEUED"]}
    assert ids(client.http.get("/v2/requests", params=query)) == [second, first]


@pytest.mark.parametrize("name", ["limit", "model", "created_after", "colour"])
def test_any_other_repeated_parameter_is_refused_by_name(client: Client, name: str) -> None:
    answer = client.http.get("/v2/requests", params=[(name, "1"), (name, "2")])
    assert answer.status_code == 400
    assert title_and_message(answer)[1] == f"{name} was given more than once"


@pytest.mark.parametrize(
    "query",
    [
        {"status": "DONE"},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"cursor": "x"},
        {"batch": "x"},
        {"created_after": "2026-01-01T00:00:00"},
        {"created_before": "0001-01-01T00:00:00Z"},
        {"colour": "red"},
    ],
)
def test_a_wrong_query_is_named(client: Client, query: dict[str, str]) -> None:
    answer = client.http.get("/v2/requests", params=query)
    assert answer.status_code == 400
    assert next(iter(query)) in title_and_message(answer)[1]


def test_a_queued_job_has_no_attempts_yet(client: Client) -> None:
    request_id = client.generate().json()["request_id"]
    answer = client.http.get(f"/v2/requests/{request_id}/attempts")
    assert answer.json() == {"data": []}
    assert answer.headers["X-Request-Id"] == request_id


@pytest.mark.parametrize(
    ("state", "operator", "told"),
    [("REFUSED", False, True), ("MISCONFIGURED", False, False), ("MISCONFIGURED", True, True)],
)
def test_what_an_upstream_says_of_our_account_is_for_operators(
    service: Service,
    state: str,
    operator: bool,  # noqa: FBT001
    told: bool,  # noqa: FBT001
) -> None:
    client = service.client("asker", operator=operator)
    request_id = client.generate().json()["request_id"]
    with service.engine.begin() as connection:
        ensure_groups(connection, service.runtime.catalog.quota_groups.values())
        connection.execute(
            text("""
                INSERT INTO attempts (id, job_id, deployment, quota_group, lane, image_count, state, slot_at,
                    token_returns_at, release_deadline, called_at, finished_at, http_status, reason, cost_usd)
                SELECT CAST(:id AS uuid), id, 'east', 'foundry-test', 'interactive', 1, :state, now(), now(),
                    now(), now(), now(), 403, 'why', 0.033 FROM jobs
            """),
            {"id": str(new_id()), "state": state},
        )
    (attempt,) = client.http.get(f"/v2/requests/{request_id}/attempts").json()["data"]
    assert (attempt["deployment"], attempt["outcome"], attempt["cost_usd"]) == ("east", state, "0.033")
    assert attempt["reason"] == ("why" if told else None)


def test_the_wallet_names_the_job_of_each_entry(client: Client) -> None:
    request_id = client.generate(num_images=2).json()["request_id"]
    wallet = client.wallet()
    assert (wallet["available"], wallet["held"], wallet["spent"]) == ("9.922", "0.078", "0")
    hold, deposit = wallet["entries"]
    assert (hold["kind"], hold["amount"], hold["request_id"]) == ("HOLD", "-0.078", request_id)
    assert (deposit["kind"], deposit["amount"], deposit["request_id"]) == ("DEPOSIT", "10", None)


def test_a_cancelled_job_is_failed_and_its_hold_returned(client: Client) -> None:
    request_id = client.generate(num_images=3).json()["request_id"]
    answer = client.http.post(f"/v2/requests/{request_id}/cancel")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["error"]) == ("FAILED", "cancelled")
    assert client.status(request_id).content == answer.content
    wallet = client.wallet()
    assert (wallet["available"], wallet["held"], wallet["spent"]) == ("10", "0", "0")
    again = client.http.post(f"/v2/requests/{request_id}/cancel")
    assert again.status_code == 409
    assert title_and_message(again) == ("Conflict", "The job is already final.")
    assert again.headers["X-Request-Id"] == request_id


class Stream:
    """Server-sent events, read by a thread as they come."""

    def __init__(self, client: Client, request_id: str, last: str | None = None) -> None:
        headers = {"Last-Event-ID": last} if last else None
        self.context = client.http.stream("GET", f"/v2/requests/{request_id}/events", headers=headers)
        self.response = self.context.__enter__()
        self.lines = self.response.iter_lines()

    def event(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for line in self.lines:
            if not line and fields:
                return fields
            name, _, value = line.partition(": ")
            fields |= {name: value} if name else {}
        raise EOFError

    def status(self) -> str:
        return json.loads(self.event()["data"])["status"]

    def rest(self) -> list[str]:
        return [line for line in self.lines if line]

    def close(self) -> None:
        self.context.__exit__(None, None, None)


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


def test_an_own_job_is_named_also_when_the_answer_goes_wrong(client: Client, engine: Engine) -> None:
    request_id = client.generate().json()["request_id"]
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE attempts RENAME TO attempts_gone"))
    answer = client.http.get(f"/v2/requests/{request_id}/attempts")
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] == request_id


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
