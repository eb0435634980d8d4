"""Input images in a call: they are loaded before its start."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from imagequeue.lifecycle.generate.storage_check import StorageCheck
from imagequeue.media.inputs import prepare_input
from imagequeue.media.keys import input_key
from tests.origin import Origin
from tests.pipeline import Pipeline


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (800, 800), "navy").save(buffer, "PNG")
    return buffer.getvalue()


def test_an_input_from_the_storage_is_sent(pipeline: Pipeline) -> None:
    image = prepare_input(_png())
    key = input_key(image.content)
    pipeline.runtime.storage.put(key, image.content, image.media_type)
    (job_id,) = pipeline.submit(operation="edit", input_images=(key,))
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"
    assert [call["operation"] for call in pipeline.calls()] == ["edit"]


def test_an_input_url_is_fetched_once_and_kept(editing: Pipeline, origin: Origin) -> None:
    url = f"{origin.url}/image.png"
    (job_id,) = editing.submit(operation="edit", image_count=2, input_images=(url,))
    editing.run()
    assert editing.status(job_id) == "COMPLETED"
    assert origin.requests.total() == 1


def test_an_input_that_is_gone_fails_the_job_instead_of_being_tried_for_ever(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(operation="edit", input_images=("inputs/gone",))
    pipeline.run()
    assert pipeline.states(job_id) == ["REFUSED"]
    assert pipeline.calls() == []


def test_while_the_storage_is_away_an_edit_waits_and_no_slots_are_offered(
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
        assert answered.result(120) == 1
    assert (pipeline.states(job_id), pipeline.health.works) == (["GIVEN_BACK"], False), (
        "until a probe succeeds"
    )
    assert pipeline.calls() == []
    (tmp_path / "media").unlink()
    assert (StorageCheck(pipeline.runtime.storage, pipeline.health).run_once(), pipeline.health.works) == (
        1,
        True,
    )
