"""What is delivered has the format and the media type that was asked for, whatever the upstream gives."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import Engine

from imagequeue.domain.images import MEDIA_TYPES, ImageRequest
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload
from tests.builders import MODEL
from tests.media.pictures import encoded
from tests.pipeline import Pipeline, RunningPipeline
from tests.upstreams import COSTS, EDITING, catalog_of, upstreams

_ORIENTATION = 0x0112


@pytest.fixture
def serving(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Any]:
    """Makes a pipeline with one deployment of a name."""
    running = list[RunningPipeline]()

    def start(name: str) -> Pipeline:
        context = RunningPipeline(
            engine, database_url, tmp_path, upstreams=upstreams(), catalog=catalog_of(name)
        )
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("name", COSTS)
def test_every_format_by_every_upstream(serving: Any, name: str) -> None:
    pipeline: Pipeline = serving(name)
    for output_format, media_type in MEDIA_TYPES.items():
        (job_id,) = pipeline.submit(output_format=output_format)
        body = _finished(pipeline, job_id)
        assert body["output"]["media_type"] == media_type
        assert body["output"]["media_url"][0].endswith(f".{output_format}")
        (row,) = pipeline.rows("SELECT * FROM images WHERE job_id = :id", id=job_id)
        with Image.open(io.BytesIO(pipeline.runtime.storage.get(row.storage_key))) as image:
            image.load()
            assert (image.format, image.size) == (output_format.upper(), (row.width, row.height))


@pytest.mark.parametrize("name", EDITING)
def test_an_edit_by_every_upstream_that_edits_shows_the_input_upright(serving: Any, name: str) -> None:
    pipeline: Pipeline = serving(name)
    (key,) = _kept(pipeline, _turned())
    with Image.open(io.BytesIO(pipeline.runtime.storage.get(key))) as image:
        assert image.size == (800, 1000)
        assert not image.getexif()
        left, right = (cast("tuple[int, int, int]", image.getpixel((x, 500))) for x in (100, 700))
        assert left[0] > 200 > right[0]
    (job_id,) = pipeline.submit(operation="edit", input_images=(key,))
    assert _finished(pipeline, job_id)["status"] == "COMPLETED"
    assert [call["operation"] for call in pipeline.calls()] == ["edit"]


def _turned() -> bytes:
    """A JPEG of 1000 x 800 that says "turn me by 90 degrees": upright its left half is red."""
    upright = Image.new("RGB", (800, 1000), "blue")
    upright.paste("red", (0, 0, 400, 1000))
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    return encoded(lying, "jpeg", exif=exif, quality=95)


def _kept(pipeline: Pipeline, content: bytes) -> tuple[str, ...]:
    ask = RequestWithUploads(ImageRequest(MODEL, "x", "edit"), (Upload("image_urls", content),))
    return ask.store_uploads(pipeline.runtime).input_images


def _finished(pipeline: Pipeline, job_id: UUID) -> dict[str, Any]:
    pipeline.run()
    while pipeline.status(job_id) == "PROCESSING":
        pipeline.poll()
    (row,) = pipeline.rows("SELECT body FROM job_results WHERE job_id = :id", id=job_id)
    return json.loads(row.body)
