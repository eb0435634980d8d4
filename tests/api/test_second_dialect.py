"""A second dialect over HTTP: whatever a dialect can have is served, and errors below its prefix are its own.

`tests/house/test_dialects.py` runs this file in a copy of the checkout in which the registry has found it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from api.app import create_app
from imagequeue.domain.ids import split_request_id
from imagequeue.domain.jobs import JobStatus
from tests.api.service import Client, Service, serving
from tests.builders import MODEL, account
from tests.dialects.with_second import WITH_SECOND
from tests.media.pictures import picture
from tests.pipeline import Pipeline, RunningPipeline
from tests.servers import ServerThread

IMAGES = "/second/images"
NOW = "/second/now"
BODY = {"model": MODEL, "text": "a fox"}
MOST_BYTES = 2 * 1024 * 1024


@pytest.fixture
def service(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Service]:
    settings = {"storage_url": f"file://{tmp_path}/media", "max_body_bytes": MOST_BYTES}
    with serving(engine, database_url, dialects=WITH_SECOND, **settings) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Client:
    return service.client()


def submit(client: Client, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return client.http.post(IMAGES, json=BODY | fields, headers=headers)


def submit_form(client: Client, *images: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    files = [("image", (f"{number}.png", image, "image/png")) for number, image in enumerate(images)]
    return client.http.post(IMAGES, data=BODY | {"count": "2"}, files=files, headers=headers)


def failure(response: httpx.Response) -> tuple[str, str]:
    """What the second dialect's envelope says, and that it says nothing else."""
    (told,) = response.json().values()
    assert (set(response.json()), set(told)) == ({"failure"}, {"code", "text"})
    return told["code"], told["text"]


def test_a_job_is_accepted_and_asked_for_in_the_dialects_words(client: Client, service: Service) -> None:
    answer = submit(client, label="red")
    assert (answer.status_code, answer.headers["X-Second"]) == (202, "accepted")
    request_id = answer.json()["id"]
    assert answer.json()["look"] == f"{service.runtime.settings.public_origin}{IMAGES}/{request_id}"
    assert answer.headers["X-Request-Id"] == request_id
    status = client.http.get(f"{IMAGES}/{request_id}")
    assert status.json() == {
        "id": request_id,
        "state": "queued",
        "label": "red",
        "pictures": [],
        "failure": None,
    }
    assert status.headers["X-Request-Id"] == request_id
    assert client.status(request_id).json()["status"] == "QUEUED", "the universal route knows it too"


def test_a_form_with_a_file_is_an_edit_of_it(client: Client, engine: Engine) -> None:
    assert submit_form(client, picture()).status_code == 202
    with engine.connect() as connection:
        row = connection.execute(text("SELECT parameters, dialect, notes FROM job_requests")).one()
    assert (row.parameters["operation"], row.parameters["image_count"]) == ("edit", 2)
    (key,) = row.parameters["input_images"]
    assert client.service.runtime.storage.get(key).startswith(b"\x89PNG")
    assert (row.dialect, json.loads(row.notes)) == ("second", {"label": ""})


def test_a_large_form_waits_for_its_turn_like_a_large_object(client: Client) -> None:
    large = picture(size=(400, 300), compress_level=0)
    assert len(large) > 256 * 1024
    assert submit_form(client, large).status_code == 202


def test_a_repeated_form_is_the_same_submit_and_another_file_is_not(client: Client) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = (submit_form(client, picture(), headers=key) for _ in range(2))
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    other = submit_form(client, picture(size=(41, 30)), headers=key)
    assert (other.status_code, failure(other)[0]) == (422, "422")
    assert client.service.rows()["jobs"] == 1


def test_notes_that_are_too_long_to_be_kept_are_refused(client: Client) -> None:
    answer = submit(client, label="x" * 17_000)
    assert (answer.status_code, "longer ones" in failure(answer)[1]) == (400, True)
    assert client.service.rows()["jobs"] == 0


def test_notes_may_hold_what_the_database_cannot(client: Client) -> None:
    request_id = submit(client, label="nul \0 inside").json()["id"]
    assert client.http.get(f"{IMAGES}/{request_id}").json()["label"] == "nul \0 inside"


def _broken(client: Client) -> httpx.Response:
    with client.service.engine.begin() as connection:
        connection.execute(text("ALTER TABLE job_requests RENAME COLUMN notes TO gone"))
    try:
        return submit(client)
    finally:
        with client.service.engine.begin() as connection:
            connection.execute(text("ALTER TABLE job_requests RENAME COLUMN gone TO notes"))


BELOW: dict[str, tuple[int, Callable[[Client], httpx.Response]]] = {
    "no such path": (404, lambda c: c.http.get("/second/nowhere")),
    "the prefix alone": (404, lambda c: c.http.get("/second")),
    "no such job": (404, lambda c: c.http.get(f"{IMAGES}/{MODEL}_0198f0a0-0000-7000-8000-000000000000")),
    "an unknown model": (404, lambda c: submit(c, model="nope")),
    "wrong method": (405, lambda c: c.http.put(IMAGES)),
    "too large": (413, lambda c: submit(c, text="a" * MOST_BYTES)),
    "too large a form": (413, lambda c: submit_form(c, bytes(MOST_BYTES))),
    "wrong type": (415, lambda c: c.http.post(IMAGES, content="x", headers={"Content-Type": "text/plain"})),
    "a form where none is taken": (415, lambda c: c.http.post(NOW, data=BODY, files={"image": b"x"})),
    "encoded": (415, lambda c: submit(c, headers={"Content-Encoding": "gzip"})),
    "wrong field": (400, lambda c: submit(c, count=9)),
    "wrong header": (400, lambda c: submit(c, headers={"X-Lane": "express"})),
    "no image": (400, lambda c: submit_form(c, b"just text")),
    "no key": (401, lambda c: httpx.post(f"{c.service.url}{IMAGES}", json=BODY)),
    "poor": (402, lambda c: submit(c.service.client("poor", funds="0"))),
    "unexpected": (500, _broken),
}


def test_below_its_prefix_every_error_is_told_in_its_envelope(client: Client) -> None:
    for name, (status, ask) in BELOW.items():
        answer = ask(client)
        assert (answer.status_code, failure(answer)[0]) == (status, str(status)), name
        assert (answer.headers.get("x-should-retry") == "false") is (status != 500), name
        assert "gone" not in answer.text


def test_elsewhere_errors_are_pixazos(client: Client) -> None:
    for path in ("/nowhere", "/secondary", "/v1/second", "/", "//second"):
        answer = client.http.get(client.service.url + path)
        assert (answer.status_code, set(answer.json())) == (404, {"error", "message"}), path


def test_a_job_of_another_dialect_or_account_does_not_exist(client: Client, service: Service) -> None:
    pixazos = client.generate().json()["request_id"]
    others = submit(service.client("other")).json()["id"]
    for request_id in (pixazos, others):
        for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
            answer = client.http.request(method, f"{IMAGES}/{request_id}{path}")
            assert (answer.status_code, failure(answer)[0]) == (404, "404")
    assert client.status(pixazos).json()["status"] == "QUEUED"


def test_a_job_is_cancelled_once(client: Client) -> None:
    path = f"{IMAGES}/{submit(client).json()['id']}"
    answer = client.http.delete(path)
    assert (answer.status_code, answer.json()["failure"]) == (200, "cancelled")
    again = client.http.delete(path)
    assert (again.status_code, failure(again)[0]) == (409, "409")
    assert client.wallet()["held"] == "0"


def test_the_documentation_shows_its_routes(client: Client) -> None:
    paths = client.http.get("/openapi.json").json()["paths"]
    (route,) = paths[IMAGES].values()
    assert set(route["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert set(route["responses"]) == {"202", "400", "404"}
    assert [one["name"] for one in paths[f"{IMAGES}/{{request_id}}"]["get"]["parameters"]] == ["request_id"]


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
            httpx.Client(base_url=server.url, headers={"api-key": key.key}, timeout=30) as http,
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
    waiting.app.state.services.watch.end()
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
