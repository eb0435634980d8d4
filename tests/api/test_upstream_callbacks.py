"""Where upstreams call back: the token is the credential, and the reference all that is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from api.app import create_app
from imagequeue.domain.ids import new_id
from imagequeue.wakeup import POLLS_DUE, WakeupListener
from tests.api.service import Service, serving, title_and_message
from tests.builders import MODEL, catalog
from tests.eventually import eventually
from tests.loopback import NO_TLS
from tests.pipeline import Pipeline, RunningPipeline
from tests.servers import ServerThread

PIXAZO: dict[str, Any] = {"provider": "pixazo", "upstream_model": MODEL, "callbacks": True}
BODY = {"request_id": f"{MODEL}_1", "status": "COMPLETED", "error": None, "output": {"media_url": ["x"]}}


@pytest.fixture
def pipeline(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with RunningPipeline(engine, database_url, tmp_path, upstream="pixazo", **PIXAZO) as running:
        yield running


@pytest.fixture
def api(pipeline: Pipeline) -> Iterator[httpx.Client]:
    """A client of an API on the same database."""
    with (
        ServerThread(create_app(pipeline.runtime)) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=120, verify=NO_TLS) as client,
    ):
        yield client


def _in_doubt(pipeline: Pipeline) -> tuple[UUID, str]:
    """An attempt that waits for its upstream to call back, and where it is to do so."""
    pipeline.fault(kind="reset", stage="mid_response", count=1)
    pipeline.submit()
    pipeline.run()
    (row,) = pipeline.rows("SELECT id, state FROM attempts")
    assert row.state == "SLEEPING"
    return row.id, f"/callbacks/{pipeline.runtime.keyring.callback_token(row.id)}"


def _reference(pipeline: Pipeline) -> str | None:
    return pipeline.rows("SELECT upstream_reference FROM attempts")[0].upstream_reference


def test_a_callback_is_taken_without_a_key_and_answered_with_nothing(
    pipeline: Pipeline, api: httpx.Client
) -> None:
    _, path = _in_doubt(pipeline)
    answer = api.post(path, json=BODY)
    assert (answer.status_code, answer.content) == (204, b"")
    assert _reference(pipeline) == BODY["request_id"]
    assert api.post(path, json=BODY).status_code == 204, "doubled"
    assert api.post(path, json=BODY | {"request_id": "other"}).status_code == 204
    assert _reference(pipeline) == BODY["request_id"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_it_says_about_its_type_does_not_matter(
    pipeline: Pipeline, api: httpx.Client, content_type: str
) -> None:
    _, path = _in_doubt(pipeline)
    content = b'{"request_id": "r-1"}'
    assert api.post(path, content=content, headers={"Content-Type": content_type}).status_code == 204
    assert _reference(pipeline) == "r-1"


def test_of_an_attempt_that_needs_nothing_it_is_taken_too(pipeline: Pipeline, api: httpx.Client) -> None:
    for attempt_id in (_in_doubt(pipeline)[0], new_id()):
        pipeline.execute(
            "UPDATE attempts SET state = 'UNKNOWN', finished_at = clock_timestamp(), poll_after = NULL"
        )
        token = pipeline.runtime.keyring.callback_token(attempt_id)
        assert api.post(f"/callbacks/{token}", json=BODY).status_code == 204
    assert _reference(pipeline) is None


def test_a_token_that_was_not_made_here_is_404(pipeline: Pipeline, api: httpx.Client) -> None:
    attempt_id, path = _in_doubt(pipeline)
    media = pipeline.runtime.keyring.media_token(str(attempt_id))
    for strange in (
        path[:-1],
        f"{path}A",
        "/callbacks/x",
        f"/callbacks/{attempt_id}.{media}",
        "/callbacks/%00",
    ):
        answer = api.post(strange, json=BODY)
        assert answer.status_code == 404, strange
        assert title_and_message(answer)[0] == "Not Found"
    assert _reference(pipeline) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"request_id": 7}',
        b'{"request_id": "../wallet"}',
        b'{"id": "r-1"}',
        b"\xff",
    ],
)
def test_a_body_that_names_no_request_is_400(pipeline: Pipeline, api: httpx.Client, content: bytes) -> None:
    _, path = _in_doubt(pipeline)
    answer = api.post(path, content=content)
    assert answer.status_code == 400
    assert title_and_message(answer)[0] == "Bad Request"
    assert _reference(pipeline) is None


def test_a_body_above_64_kib_is_413(pipeline: Pipeline, api: httpx.Client) -> None:
    _, path = _in_doubt(pipeline)
    body: dict[str, Any] = BODY | {"error": "x" * 64 * 1024}
    assert api.post(path, json=body).status_code == 413
    assert _reference(pipeline) is None


def test_the_dispatcher_is_woken(
    engine: Engine, database_url: str, redis_url: str, pipeline: Pipeline
) -> None:
    _, path = _in_doubt(pipeline)
    with serving(engine, database_url, of=catalog(**PIXAZO), redis_url=redis_url) as service:
        listener = WakeupListener(service.runtime.redis, POLLS_DUE)
        assert listener.wait(120)  # its subscription begins
        assert not listener.wait(0.05)
        assert httpx.post(service.url + path, json=BODY, verify=NO_TLS).status_code == 204
        assert listener.wait(120)
        listener.close()


@pytest.fixture
def service(engine: Engine, database_url: str) -> Iterator[Service]:
    """An API that upstreams can reach before there is a pipeline."""
    with serving(engine, database_url, of=catalog(**PIXAZO)) as service:
        yield service


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_an_upstream_that_breaks_off_its_answer_is_asked_for_the_result_and_paid_once(
    service: Service, engine: Engine, database_url: str, tmp_path: Path, fault: str
) -> None:
    """All of it by HTTP: the simulator calls the API back. A call that hangs is given up at its deadline."""
    running = RunningPipeline(
        engine, database_url, tmp_path, upstream="pixazo", public_url=service.url, timeout_seconds=3, **PIXAZO
    )
    with running as pipeline:
        pipeline.fault(kind=fault, stage="mid_response", count=1)
        (job_id,) = pipeline.submit(image_count=2)
        pipeline.run()
        eventually(lambda: _reference(pipeline) is not None)
        pipeline.poll()
        assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
        assert [call["operation"] for call in pipeline.calls()] == ["generate"]
