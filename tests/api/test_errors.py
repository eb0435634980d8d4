"""Every error has its place in the table, and nothing inside is ever told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from api import errors
from api.errors import ANSWERS, answer_to
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.errors import ImagequeueError, TooManyRequests
from imagequeue.lifecycle.backfill.refusals import LineRefused
from tests.api.second import BODY, IMAGES, MOST_BYTES, NOW, failure, submit, submit_form
from tests.api.service import Client
from tests.builders import MODEL
from tests.loopback import NO_TLS
from tests.servers import ServerThread

PIXAZO = DIALECTS.at("/")


def family(kind: type[ImagequeueError]) -> Iterator[type[ImagequeueError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_every_error_class_is_mapped() -> None:
    ours = {kind for kind in family(ImagequeueError) if kind.__module__.startswith("imagequeue.")}
    ours.remove(LineRefused)  # a line is refused among the errors of its batch, not by HTTP
    assert ours == set(ANSWERS)


@pytest.mark.parametrize("kind", list(ANSWERS))
def test_clients_repeat_only_what_a_repeat_can_cure(kind: type[ImagequeueError]) -> None:
    answer = answer_to(kind(), PIXAZO)
    told_not_to = answer.headers.get("x-should-retry") == "false"
    assert told_not_to == (answer.status_code not in {429, 500, 503})
    assert ("Retry-After" in answer.headers) == (answer.status_code in {429, 503})


def test_retry_after_is_whole_seconds_and_never_too_early() -> None:
    assert answer_to(TooManyRequests(retry_after=0.2), PIXAZO).headers["Retry-After"] == "1"
    assert answer_to(TooManyRequests(retry_after=3.2), PIXAZO).headers["Retry-After"] == "4"


@pytest.fixture
def broken() -> Iterator[str]:
    """A server whose routes fail in ways that nobody expects."""
    app = FastAPI()
    errors.install(app, DIALECTS)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the prompt was: a secret plan")

    @app.get("/wrong")
    async def wrong() -> None:
        raise ImagequeueError("a secret plan")

    with ServerThread(app) as server:
        yield server.url


@pytest.mark.parametrize("path", ["/broken", "/wrong"])
def test_what_nobody_expected_is_a_500_that_says_nothing(
    broken: str, path: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = httpx.get(broken + path, verify=NO_TLS)
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal Server Error", "message": "Something went wrong on our side."}
    out, err = capfd.readouterr()
    assert "secret" not in out + err + caplog.text
    assert path == "/wrong" or "RuntimeError" in out + err + caplog.text


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
    "no key": (401, lambda c: httpx.post(f"{c.service.url}{IMAGES}", json=BODY, verify=NO_TLS)),
    "poor": (402, lambda c: submit(c.service.client("poor", funds="0"))),
    "unexpected": (500, _broken),
}


def test_below_its_prefix_every_error_is_told_in_its_envelope(second: Client) -> None:
    for name, (status, ask) in BELOW.items():
        answer = ask(second)
        assert (answer.status_code, failure(answer)[0]) == (status, str(status)), name
        assert (answer.headers.get("x-should-retry") == "false") is (status != 500), name
        assert "gone" not in answer.text


def test_elsewhere_errors_are_pixazos(second: Client) -> None:
    for path in ("/nowhere", "/secondary", "/v2/second", "/", "//second"):
        answer = second.http.get(second.service.url + path)
        assert (answer.status_code, set(answer.json())) == (404, {"error", "message"}), path
