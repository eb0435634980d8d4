"""Every error has its place in the table, and nothing inside is ever told."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from api import errors
from api.errors import ANSWERS, answer_to
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.errors import ImagequeueError, TooManyRequests
from tests.servers import ServerThread

PIXAZO = DIALECTS.at("/")


def family(kind: type[ImagequeueError]) -> Iterator[type[ImagequeueError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_every_error_class_is_mapped() -> None:
    ours = {kind for kind in family(ImagequeueError) if kind.__module__.startswith("imagequeue.")}
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
    answer = httpx.get(broken + path)
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal Server Error", "message": "Something went wrong on our side."}
    out, err = capfd.readouterr()
    assert "secret" not in out + err + caplog.text
    assert path == "/wrong" or "RuntimeError" in out + err + caplog.text
