"""Submits that wait: how they are woken, how long they wait, and what becomes of those that stop waiting."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from imagequeue.domain.ids import split_request_id
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.status_body import encode
from tests.api.second import failure
from tests.api.waiting import Waiting, waiting_clients
from tests.dialects.examples import events


@pytest.mark.parametrize(
    ("headers", "told"),
    [({}, "false"), ({"Idempotency-Key": "k"}, "true"), ({"x-stainless-retry-count": "0"}, "true")],
)
def test_who_has_waited_long_enough_is_told_which_job_goes_on(
    waiting: Waiting, headers: dict[str, str], told: str
) -> None:
    answer = waiting.post(headers)
    job = waiting.job()
    waiting.app.state.watch.end()
    ended = answer.result()
    assert (ended.status_code, failure(ended)[0]) == (504, "504")
    assert ended.headers["x-should-retry"] == told
    assert split_request_id(ended.headers["X-Request-Id"])[1] == job.id
    assert ended.headers["X-Request-Id"] in failure(ended)[1]
    waiting.pipeline.run()
    assert waiting.pipeline.status(job.id) == "COMPLETED"


def test_a_repeat_of_a_submit_that_waits_gets_the_same_job(waiting: Waiting) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = waiting.post(key), waiting.post(key)
    answers = waiting.run(first, second)
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotent-Replayed", "") for answer in answers) == ["", "true"]
    assert len(waiting.pipeline.calls()) == 1


def test_a_repeat_of_a_job_that_is_over_gets_it_at_once(waiting: Waiting) -> None:
    key = {"Idempotency-Key": "once"}
    first = waiting.post(key)
    waiting.pipeline.settlement.end([waiting.job().id], JobStatus.ERROR, "late")
    assert first.result().json()["state"] == "error"
    waiting.pipeline.execute("DELETE FROM events")
    again = waiting.post(key).result()
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.result().content, "true")


def test_a_repeat_that_counts_itself_joins_the_job(waiting: Waiting) -> None:
    """As the SDKs do it, which send no key."""
    first = waiting.post({"x-stainless-retry-count": "0"})
    waiting.job()
    answers = waiting.run(first, waiting.post({"x-stainless-retry-count": "1"}))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(waiting.pipeline.calls()) == 1


def test_a_client_that_hangs_up_is_waited_for_no_longer_and_its_job_goes_on(waiting: Waiting) -> None:
    key = {"Idempotency-Key": "once"}
    waiting.leave(key)
    waiting.until_watched(0)
    job = waiting.job()
    assert waiting.pipeline.status(job.id) == "QUEUED"
    (answer,) = waiting.run(waiting.post(key))
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (200, "true")
    assert split_request_id(answer.json()["id"])[1] == job.id
    assert len(waiting.pipeline.calls()) == 1


@pytest.fixture
def impatient(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Waiting]:
    """A server at which nobody waits for longer than a tenth of a second."""
    with waiting_clients(engine, database_url, tmp_path, wait_seconds=0.1) as waiting:
        yield waiting


def test_after_the_limit_the_client_is_told_which_job_goes_on(impatient: Waiting) -> None:
    answer = impatient.post().result()
    assert (answer.status_code, failure(answer)[0]) == (504, "504")
    request_id = answer.headers["X-Request-Id"]
    assert request_id in failure(answer)[1]
    impatient.pipeline.run()
    assert impatient.pipeline.status(split_request_id(request_id)[1]) == "COMPLETED"
    impatient.until_watched(0)


def test_a_stream_tells_within_itself_that_the_limit_is_reached(impatient: Waiting) -> None:
    answer = impatient.post(stream=True).result()
    assert answer.status_code == 200
    begun, refused = events(answer.text)
    assert (begun["event"], refused["event"]) == ("accepted", "failure")
    assert answer.headers["X-Request-Id"] in refused["data"]["text"]


def test_a_stream_ends_with_the_process(waiting: Waiting) -> None:
    answer = waiting.post(stream=True)
    waiting.until_watched(1)
    waiting.app.state.watch.end()
    assert [event["event"] for event in events(answer.result().text)] == ["accepted", "failure"]


def test_a_stream_of_a_refused_job_ends_with_its_error(waiting: Waiting) -> None:
    answer = waiting.post(stream=True)
    waiting.pipeline.settlement.end([waiting.job().id], JobStatus.FAILED, "against the rules")
    _, final, _ = events(answer.result().text)
    assert (final["data"]["state"], final["data"]["failure"]) == ("failed", "against the rules")


def test_who_prefers_it_gets_the_id_at_once_where_others_wait(waiting: Waiting) -> None:
    for fields in ({}, {"stream": True}):
        answer = waiting.post({"Prefer": "respond-async"}, **fields).result()
        assert (answer.status_code, "look" in answer.json()) == (202, True)
        assert answer.headers["Preference-Applied"] == "respond-async"


def test_who_prefers_to_wait_shortly_gets_the_id_then(waiting: Waiting) -> None:
    for prefer, applied in (
        ("wait=0", "wait=0"),
        ("wait=1", "wait=1"),
        ("respond-async, wait=1", "respond-async, wait=1"),
    ):
        answer = waiting.post({"Prefer": prefer}).result()
        assert (answer.status_code, "look" in answer.json()) == (202, True)
        assert answer.headers["Preference-Applied"] == applied


def test_where_nobody_waits_a_client_may_ask_to(waiting: Waiting) -> None:
    """Pixazo's clients get the final status body, or as ever the answer that the job is queued."""
    queued = waiting.pixazo().result()
    assert (queued.status_code, "Preference-Applied" in queued.headers) == (202, False)
    (told,) = waiting.run(waiting.pixazo({"Prefer": "wait=25"}))
    assert (told.status_code, told.json()["status"]) == (200, "COMPLETED")
    assert told.headers["Preference-Applied"] == "wait=25"
    assert told.json() == waiting.http.get(f"/v2/requests/status/{told.json()['request_id']}").json()
    assert waiting.pixazo({"Prefer": "wait=0"}).result().json().keys() == queued.json().keys()


def test_a_preference_that_cannot_be_read_is_none(waiting: Waiting) -> None:
    answer = waiting.pixazo({"Prefer": "wait=soon, wait=20, handling=lenient"}).result()
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)


def test_pixazos_sync_mode_is_answered_with_the_final_body_and_the_images_in_it(waiting: Waiting) -> None:
    (told,) = waiting.run(waiting.pixazo(sync_mode=True, num_images=2))
    assert (told.status_code, told.headers["X-Request-Id"]) == (200, told.json()["request_id"])
    polled = waiting.http.get(f"/v2/requests/status/{told.json()['request_id']}").json()
    stored = [waiting.pipeline.runtime.storage.get(row.storage_key) for row in images(waiting)]
    data_urls = [f"data:image/png;base64,{base64.b64encode(content).decode()}" for content in stored]
    polled["output"]["media_url"] = data_urls
    assert told.content == encode(polled).encode()


def images(waiting: Waiting) -> list[Any]:
    return waiting.pipeline.rows("SELECT storage_key FROM images ORDER BY ordinal")


def test_pixazos_sync_mode_may_be_answered_with_the_id_after_all(waiting: Waiting) -> None:
    answer = waiting.pixazo({"Prefer": "respond-async"}, sync_mode=True).result()
    assert (answer.status_code, answer.json()["status"]) == (202, "QUEUED")
    refused = waiting.pixazo(sync_mode=True, prompt="another fox")
    waiting.until_watched(1)
    waiting.app.state.watch.end()
    assert (refused.result().status_code, set(refused.result().json())) == (504, {"error", "message"})
