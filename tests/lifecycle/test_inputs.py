"""Input images: from the storage or from a URL, ready before the slot; what is unusable fails the job."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagequeue.lifecycle.probe import Probe
from imagequeue.media.inputs import prepare_input
from imagequeue.media.keys import input_key
from tests.pipeline import Pipeline, RunningPipeline
from tests.servers import ServerThread


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (800, 800), "navy").save(buffer, "PNG")
    return buffer.getvalue()


class Origin:
    """A web server with an image and a page; counts its requests."""

    def __init__(self) -> None:
        self.requests = 0

    async def serve(self, request: Request) -> Response:
        self.requests += 1
        if request.url.path == "/image.png":
            return Response(_png(), media_type="image/png")
        return Response("<html>", media_type="text/html")


@pytest.fixture
def origin() -> Iterator[tuple[Origin, str]]:
    served = Origin()
    with ServerThread(Starlette(routes=[Route("/{path:path}", served.serve)])) as server:
        yield served, server.url


@pytest.fixture
def editing(
    engine: Engine, database_url: str, tmp_path: Path, origin: tuple[Origin, str]
) -> Iterator[Pipeline]:
    """A pipeline that may reach the web server."""
    allow = origin[1].removeprefix("http://")
    with RunningPipeline(engine, database_url, tmp_path, allow=allow) as running:
        yield running


def test_an_input_from_the_storage_is_sent(pipeline: Pipeline) -> None:
    image = prepare_input(_png())
    key = input_key(image.content)
    pipeline.runtime.storage.put(key, image.content, image.media_type)
    (job_id,) = pipeline.submit(operation="edit", input_images=(key,))
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"
    assert [call["operation"] for call in pipeline.calls()] == ["edit"]


def test_an_input_url_is_fetched_once_and_kept(editing: Pipeline, origin: tuple[Origin, str]) -> None:
    served, url = origin
    (job_id,) = editing.submit(operation="edit", image_count=2, input_images=(f"{url}/image.png",))
    editing.run()
    assert editing.status(job_id) == "COMPLETED"
    assert served.requests == 1


def test_an_input_that_is_no_image_fails_the_job_before_any_call(
    editing: Pipeline, origin: tuple[Origin, str]
) -> None:
    (job_id,) = editing.submit(operation="edit", input_images=(f"{origin[1]}/page",))
    editing.run()
    assert editing.status(job_id) == "FAILED"
    assert editing.states(job_id) == ["REFUSED"]
    assert editing.calls() == []
    (row,) = editing.rows("SELECT token_returns_at <= clock_timestamp() AS free FROM attempts")
    assert row.free


def test_an_input_at_a_private_address_fails_the_job(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(operation="edit", input_images=("http://10.0.0.1/image.png",))
    pipeline.run()
    assert pipeline.status(job_id) == "FAILED"
    assert pipeline.calls() == []


def test_an_input_that_is_gone_fails_the_job_instead_of_turning_for_ever(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(operation="edit", input_images=("inputs/gone",))
    pipeline.run()
    assert pipeline.states(job_id) == ["REFUSED"]
    assert pipeline.calls() == []


def test_while_the_storage_is_away_an_edit_rests_and_no_slots_are_offered(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / "media").write_text("a file where the directory should be")
    (job_id,) = pipeline.submit(operation="edit", input_images=("inputs/some",))
    pipeline.dispatch.run_once()
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(pipeline.answer)
        while pipeline.health.works:
            assert not answered.done()
        assert pipeline.states(job_id) == ["RELEASED"]
        pipeline.stopping.set()
        assert answered.result(20) == 1
    assert (pipeline.states(job_id), pipeline.health.works) == (["GIVEN_BACK"], False)
    assert pipeline.calls() == []
    (tmp_path / "media").unlink()
    assert (Probe(pipeline.runtime.storage, pipeline.health).run_once(), pipeline.health.works) == (1, True)
