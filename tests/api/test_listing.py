"""The list of an account's jobs: pages and filters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.ids import new_id
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import JobStatus, Lane
from imagequeue.lifecycle.submit.submission import Submission
from imagequeue.lifecycle.submit.submit import submit
from tests.api.service import Client, Service, title_and_message
from tests.api.streams import Stream, move
from tests.builders import MODEL
from tests.locks import wait_until_blocked

LISTS = 2
"""As many as there are threads for lists."""
PATIENCE_SECONDS = 120


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["request_id"] for job in answer.json()["data"]]


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
        *[
            {name: empty}
            for name in ("status", "model", "cursor", "limit", "created_after")
            for empty in ("", " ")
        ],
    ],
)
def test_a_wrong_query_is_named(client: Client, query: dict[str, str]) -> None:
    answer = client.http.get("/v2/requests", params=query)
    assert answer.status_code == 400
    assert next(iter(query)) in title_and_message(answer)[1]


def test_slow_lists_keep_nobody_else_waiting(client: Client, engine: Engine) -> None:
    request_id = client.generate().json()["request_id"]
    stream = Stream(client, request_id)
    assert stream.status() == "QUEUED"
    accounts = [client.service.client(f"account {number}") for number in range(LISTS)]
    with ThreadPoolExecutor(LISTS) as threads, engine.begin() as locking:
        locking.execute(text("LOCK TABLE job_results IN ACCESS EXCLUSIVE MODE"))
        lists = [threads.submit(one.http.get, "/v2/requests") for one in accounts]
        wait_until_blocked(engine, LISTS)
        assert client.http.get("/readyz").status_code == 200
        assert client.http.get("/v2/wallet").status_code == 200
        move(engine, request_id, JobStatus.PROCESSING)
        assert stream.status() == "PROCESSING"
        answers = [one.result(PATIENCE_SECONDS) for one in lists]
    stream.close()
    assert [answer.status_code for answer in answers] == [503] * LISTS
    assert "created_after" in title_and_message(answers[0])[1]
    assert int(answers[0].headers["Retry-After"]) >= 1
    assert client.http.get("/v2/requests").status_code == 200
