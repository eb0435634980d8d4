"""Two polls of one attempt at a time: the first process stood still, was found dead, and goes on.

What the two download differs by a byte. One image counts, and what is on record describes it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.generate.generate import Generation
from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import StorageUnavailable
from tests.builders import MODEL
from tests.pipeline import Pipeline, RunningPipeline

IMAGES = 2
PATIENCE_SECONDS = 120


class StandingStill(LocalStorage):
    """The storage of a process that stands still at its first put; its bytes differ from anybody else's.

    It stands before the put, after it, or before the repetition of one that the storage did not take.
    """

    def __init__(self, inner: LocalStorage, where: str) -> None:
        super().__init__(inner.directory)
        self.where, self.refusals = where, int(where == "before a repetition")
        self.stands, self.goes_on = threading.Event(), threading.Event()

    def put(self, key: str, content: bytes, media_type: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StorageUnavailable("away, for one put")
        if self.where != "after the put":
            self._stand()
        super().put(key, content + b" and a byte", media_type)
        if self.where == "after the put":
            self._stand()

    def _stand(self) -> None:
        if not self.stands.is_set():
            self.stands.set()
            assert self.goes_on.wait(PATIENCE_SECONDS)


@pytest.fixture
def pixazo(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with RunningPipeline(
        engine, database_url, tmp_path, upstream="pixazo", provider="pixazo", upstream_model=MODEL
    ) as running:
        yield running


def _submitted(pipeline: Pipeline) -> tuple[UUID, UUID]:
    (job_id,) = pipeline.submit(image_count=IMAGES)
    pipeline.dispatch.run_once()
    pipeline.answer()
    ((attempt_id,),) = pipeline.rows("SELECT id FROM attempts WHERE state = 'SLEEPING'")
    return job_id, attempt_id


def _other_process(pipeline: Pipeline, storage: LocalStorage) -> Generation:
    """A worker process of its own, which lives."""
    process = WorkerProcess(new_id(), threading.Event(), Punctuality(64))
    pipeline.register(process.id)
    image_storer = replace(pipeline.image_storer, storage=storage)
    recorder = replace(pipeline.generation.recorder, process=process)
    return replace(pipeline.generation, process=process, image_storer=image_storer, recorder=recorder)


@pytest.mark.parametrize("where", ["before the put", "after the put", "before a repetition"])
def test_two_polls_whose_downloads_differ_by_a_byte_are_one_purchase_and_one_set_of_images(
    pixazo: Pipeline, where: str
) -> None:
    job_id, attempt_id = _submitted(pixazo)
    assert isinstance(pixazo.runtime.storage, LocalStorage)
    standing = StandingStill(pixazo.runtime.storage, where)
    first = _other_process(pixazo, standing)
    thread = threading.Thread(target=first.run, args=(attempt_id,))
    thread.start()
    assert standing.stands.wait(PATIENCE_SECONDS)
    pixazo.execute("DELETE FROM processes WHERE id = :id", id=first.process.id)  # it was found dead
    pixazo.poll()
    assert (pixazo.status(job_id), pixazo.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    final = pixazo.rows("SELECT * FROM images ORDER BY ordinal")
    standing.goes_on.set()
    thread.join(PATIENCE_SECONDS)
    assert pixazo.rows("SELECT * FROM images ORDER BY ordinal") == final
    assert [image.ordinal for image in final] == list(range(1, IMAGES + 1))
    assert len({image.storage_key for image in final}) == IMAGES
    for image in final:
        assert image.size_bytes == len(pixazo.runtime.storage.get(image.storage_key))
    assert [call["operation"] for call in pixazo.calls()].count("generate") == 1
    kinds = pixazo.rows("SELECT kind FROM ledger_entries WHERE job_id IS NOT NULL ORDER BY id")
    assert [row.kind for row in kinds] == ["HOLD", "CAPTURE"]
    assert pixazo.rows("SELECT DISTINCT state FROM attempts") == [("SUCCEEDED",)]
    assert list(pixazo.spill.pending()) == []
