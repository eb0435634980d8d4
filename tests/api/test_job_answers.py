"""Answers about a job in its dialect's words, also to a submit that waits for its end."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from api.app import create_app
from imagequeue.domain.ids import split_request_id
from imagequeue.domain.jobs import JobStatus
from tests.api.second import BODY, IMAGES, NOW, failure, submit
from tests.api.service import Client
from tests.builders import account
from tests.dialects.with_second import WITH_SECOND
from tests.pipeline import Pipeline, RunningPipeline
from tests.servers import ServerThread


def test_a_job_of_another_dialect_or_account_does_not_exist(second: Client) -> None:
    pixazos = second.generate().json()["request_id"]
    others = submit(second.service.client("other")).json()["id"]
    for request_id in (pixazos, others):
        for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
            answer = second.http.request(method, f"{IMAGES}/{request_id}{path}")
            assert (answer.status_code, failure(answer)[0]) == (404, "404")
    assert second.status(pixazos).json()["status"] == "QUEUED"


def test_a_job_is_cancelled_once(second: Client) -> None:
    path = f"{IMAGES}/{submit(second).json()['id']}"
    answer = second.http.delete(path)
    assert (answer.status_code, answer.json()["failure"]) == (200, "cancelled")
    again = second.http.delete(path)
    assert (again.status_code, failure(again)[0]) == (409, "409")
    assert second.wallet()["held"] == "0"


class Waiting:
    """Clients that wait, and the pipeline that serves them."""

    def __init__(self, pipeline: Pipeline, app: Any, http: httpx.Client, pool: ThreadPoolExecutor) -> None:
        self.pipeline, self.app, self.http, self._pool = pipeline, app, http, pool

    def post(self, headers: dict[str, str] | None = None, **fields: Any) -> Future[httpx.Response]:
        return self._pool.submit(self.http.post, NOW, json=BODY | fields, headers=headers)

    def job(self) -> Any:
        """The one job, as soon as there is one."""
        while not (rows := self.pipeline.rows("SELECT id FROM jobs")):
            self.http.get("/healthz")
        return rows[0]


@pytest.fixture
def waiting(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Waiting]:
    with RunningPipeline(engine, database_url, tmp_path) as pipeline, ThreadPoolExecutor(2) as pool:
        app = create_app(pipeline.runtime, WITH_SECOND)
        _, key = account(engine, "waiting")
        with (
            ServerThread(app) as server,
            httpx.Client(base_url=server.url, headers={"api-key": key.key}, timeout=120) as http,
        ):
            yield Waiting(pipeline, app, http, pool)


def test_a_submit_that_waits_is_answered_with_the_final_job(waiting: Waiting) -> None:
    answer = waiting.post(inline=True)
    waiting.job()
    while not answer.done():
        waiting.pipeline.run()
    told = answer.result()
    assert (told.status_code, told.json()["state"]) == (200, "completed")
    (encoded,) = told.json()["pictures"]
    assert base64.b64decode(encoded).startswith(b"\x89PNG")
    assert told.headers["X-Request-Id"] == told.json()["id"]
    shown = waiting.http.get(f"{IMAGES}/{told.json()['id']}").json()["pictures"]
    assert shown[0].startswith(waiting.pipeline.runtime.settings.public_origin)


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


def test_a_request_may_ask_not_to_wait(waiting: Waiting) -> None:
    answer = waiting.post({"x-second-later": "yes"}).result()
    assert (answer.status_code, "look" in answer.json()) == (202, True)


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
    waiting.job()
    while not (first.done() and second.done()):
        waiting.pipeline.run()
    answers = [first.result(), second.result()]
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
