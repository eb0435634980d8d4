"""Input images that jobs share are kept while one of them, or a submit, needs them, and no longer."""

from __future__ import annotations

import base64
import threading
from dataclasses import replace

import pytest

from imagequeue import wiring
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import JobStatus
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload
from imagequeue.media.local import LocalStorage
from tests.builders import MODEL
from tests.locks import wait_until_blocked
from tests.media.pictures import picture
from tests.pipeline import Pipeline

DATA_URL = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
ASK = RequestWithUploads(
    ImageRequest(MODEL, "an edit", operation="edit"), (Upload("image", DATA_URL),), Upload("mask", DATA_URL)
)


def _due(pipeline: Pipeline) -> None:
    pipeline.execute("UPDATE input_images SET kept_until = clock_timestamp()")


def _look(pipeline: Pipeline) -> int:
    return wiring.input_retention(pipeline.runtime).run_once()


def _forget(pipeline: Pipeline, *job_ids: object) -> None:
    pipeline.execute(
        "UPDATE jobs SET finished_at = finished_at - interval '31 days' WHERE id = ANY(:ids)",
        ids=list(job_ids),
    )
    replace(wiring.event_totals(pipeline.runtime), settled_seconds=0).run_once()  # uncounted events are kept
    assert wiring.job_retention(pipeline.runtime).run_once() == len(job_ids)


@pytest.mark.parametrize("place", ["image", "mask"])
def test_an_image_is_kept_until_the_last_job_that_names_it_is_forgotten(
    pipeline: Pipeline, place: str
) -> None:
    kept = ASK.store_uploads(pipeline.runtime)
    (key,) = kept.input_images
    assert kept.mask == key, "the same image is stored once"
    jobs = pipeline.submit(2, operation="edit", input_images=(key,))
    if place == "mask":  # as where a deployment takes one
        pipeline.execute(
            "UPDATE job_requests SET parameters = parameters || jsonb_build_object("
            "'input_images', jsonb_build_array('https://example.com/a.png'), 'mask', CAST(:key AS text))",
            key=key,
        )
    pipeline.settlement.end(jobs, JobStatus.ERROR, "for the test")
    _forget(pipeline, jobs[0])
    _due(pipeline)
    assert _look(pipeline) == 0
    assert pipeline.runtime.storage.exists(key)
    _forget(pipeline, jobs[1])
    assert _look(pipeline) == 0, "looked at once a day"
    _due(pipeline)
    assert _look(pipeline) == 1
    assert not pipeline.runtime.storage.exists(key)
    assert pipeline.rows("SELECT * FROM input_images") == []


def test_an_image_whose_submit_was_refused_goes_a_day_later(pipeline: Pipeline) -> None:
    (key,) = ASK.store_uploads(pipeline.runtime).input_images
    assert _look(pipeline) == 0, "its submit may still commit"
    _due(pipeline)
    assert _look(pipeline) == 1
    assert not pipeline.runtime.storage.exists(key)


def test_a_submit_that_comes_before_the_look_keeps_the_image(pipeline: Pipeline) -> None:
    ASK.store_uploads(pipeline.runtime)
    _due(pipeline)
    (key,) = ASK.store_uploads(pipeline.runtime).input_images
    assert _look(pipeline) == 0
    assert pipeline.runtime.storage.exists(key)


class Halting(LocalStorage):
    """Deleting waits for `go`, and tells that it does."""

    def __init__(self, storage: LocalStorage) -> None:
        super().__init__(storage.directory)
        self.deleting, self.go = threading.Event(), threading.Event()

    def delete(self, *keys: str) -> None:
        self.deleting.set()
        assert self.go.wait(120)
        super().delete(*keys)


def test_a_submit_that_comes_while_the_image_is_deleted_stores_it_again(pipeline: Pipeline) -> None:
    (key,) = ASK.store_uploads(pipeline.runtime).input_images
    _due(pipeline)
    assert isinstance(pipeline.runtime.storage, LocalStorage)
    halting = Halting(pipeline.runtime.storage)
    retention = replace(wiring.input_retention(pipeline.runtime), storage=halting)
    looking = threading.Thread(target=retention.run_once)
    looking.start()
    assert halting.deleting.wait(120)
    submitting = threading.Thread(target=ASK.store_uploads, args=[pipeline.runtime])
    submitting.start()
    wait_until_blocked(pipeline.runtime.engine)
    halting.go.set()
    for thread in (looking, submitting):
        thread.join(120)
        assert not thread.is_alive()
    assert pipeline.runtime.storage.exists(key)
    assert _look(pipeline) == 0
    assert pipeline.rows("SELECT storage_key FROM input_images") == [(key,)]
