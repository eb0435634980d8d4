"""Answers about a job in its dialect's words, also to a submit that waits for its end."""

from __future__ import annotations

import base64

from imagequeue.domain.jobs import JobStatus
from tests.api.second import IMAGES, NOW, failure, submit
from tests.api.service import Client
from tests.api.waiting import Waiting
from tests.builders import MODEL
from tests.dialects.examples import events


def test_a_job_of_another_account_does_not_exist(second: Client) -> None:
    other = second.service.client("other")
    request_id = submit(other).json()["id"]
    for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
        answer = second.http.request(method, f"{IMAGES}/{request_id}{path}")
        assert (answer.status_code, failure(answer)[0]) == (404, "404")
    assert other.status(request_id).json()["status"] == "QUEUED"


def test_a_job_of_another_dialect_is_shown_and_cancelled_by_its_id(second: Client) -> None:
    """What its own dialect had noted with it is not shown to this one."""
    request_id = second.generate().json()["request_id"]
    shown = second.http.get(f"{IMAGES}/{request_id}").json()
    assert (shown["id"], shown["state"], shown["label"]) == (request_id, "queued", "")
    assert second.http.delete(f"{IMAGES}/{request_id}").json()["failure"] == "cancelled"
    seconds = submit(second, label="red").json()["id"]
    assert second.http.get(f"{IMAGES}/{seconds}").json()["label"] == "red"
    assert second.status(seconds).json()["status"] == "QUEUED"
    assert second.http.post(f"/v2/requests/{seconds}/cancel").json()["error"] == "cancelled"
    listed = second.http.get("/v2/requests").json()["data"]
    assert [(job["request_id"], job["status"]) for job in listed] == [
        (seconds, "FAILED"),
        (request_id, "FAILED"),
    ]


def test_models_are_listed_in_the_dialects_words_for_who_has_a_key(second: Client) -> None:
    listed = second.http.get("/second/models")
    assert (listed.status_code, listed.json()["names"][0]) == (200, MODEL)
    assert "disabled-model" not in listed.json()["names"]
    assert second.http.get("/second/models", headers={KEY_HEADER: "iq_x"}).status_code == 401


def test_a_job_is_cancelled_once(second: Client) -> None:
    path = f"{IMAGES}/{submit(second).json()['id']}"
    answer = second.http.delete(path)
    assert (answer.status_code, answer.json()["failure"]) == (200, "cancelled")
    again = second.http.delete(path)
    assert (again.status_code, failure(again)[0]) == (409, "409")
    assert second.wallet()["held"] == "0"


KEY_HEADER = "Ocp-Apim-Subscription-Key"


def test_a_submit_that_waits_is_answered_with_the_final_job(waiting: Waiting) -> None:
    (told,) = waiting.run(waiting.post(inline=True))
    assert (told.status_code, told.json()["state"]) == (200, "completed")
    (encoded,) = told.json()["pictures"]
    assert base64.b64decode(encoded).startswith(b"\x89PNG")
    assert told.headers["X-Request-Id"] == told.json()["id"]
    shown = waiting.http.get(f"{IMAGES}/{told.json()['id']}").json()["pictures"]
    assert shown[0].startswith(waiting.pipeline.runtime.settings.public_origin)


def test_a_submit_may_be_answered_with_a_stream_that_ends_with_the_final_job(waiting: Waiting) -> None:
    (told,) = waiting.run(waiting.post(stream=True))
    assert (told.status_code, told.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (told.headers["Cache-Control"], told.headers["X-Accel-Buffering"]) == ("no-cache", "no")
    begun, final, done = events(told.text)
    assert (begun["data"], done["data"]) == ({"id": told.headers["X-Request-Id"], "at": NOW}, "[DONE]")
    (image,) = waiting.pipeline.rows("SELECT storage_key FROM images")
    stored = waiting.pipeline.runtime.storage.get(image.storage_key)
    assert final["data"]["pictures"] == [base64.b64encode(stored).decode()]


def test_images_that_cannot_be_read_are_asked_for_later(waiting: Waiting) -> None:
    answer = waiting.post({"x-second-later": "yes"}, inline=True)
    waiting.job()
    waiting.pipeline.run()
    (image,) = waiting.pipeline.rows("SELECT storage_key FROM images")
    waiting.pipeline.runtime.storage.delete(image.storage_key)
    shown = waiting.http.get(f"{IMAGES}/{answer.result().json()['id']}/result")
    assert (shown.status_code, failure(shown)[0]) == (503, "503")
    assert shown.headers["Retry-After"]


def test_a_refused_job_is_told_with_the_dialects_own_status(waiting: Waiting) -> None:
    answer = waiting.post()
    waiting.pipeline.settlement.end([waiting.job().id], JobStatus.FAILED, "against the rules")
    assert (answer.result().status_code, failure(answer.result())) == (400, ("400", "against the rules"))
    assert answer.result().headers["x-should-retry"] == "false"
    later = waiting.http.get(f"{IMAGES}/{answer.result().headers['X-Request-Id']}/result")
    assert (later.status_code, later.headers["x-should-retry"]) == (400, "false")


def test_a_request_may_ask_not_to_wait(waiting: Waiting) -> None:
    answer = waiting.post({"x-second-later": "yes"}).result()
    assert (answer.status_code, "look" in answer.json()) == (202, True)
