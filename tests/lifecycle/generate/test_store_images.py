"""A storage that is away costs time, never a second call (docs/design/pipeline.md, "Storage away")."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.ids import request_id
from imagequeue.lifecycle.generate.store_images import AvailableSlots
from imagequeue.media.gate import MOST_DECODING
from imagequeue.media.keys import output_key
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store.attempts import calls
from tests.builders import MODEL
from tests.lifecycle.generate.refusing import RefusingStorage
from tests.media.pictures import picture
from tests.pipeline import Pipeline, RunningPipeline


class Outage:
    """A pipeline whose storage can be taken away."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        assert isinstance(pipeline.runtime.storage, LocalStorage)
        self.storage = RefusingStorage(pipeline.runtime.storage)
        image_storer = replace(pipeline.image_storer, storage=self.storage)
        pipeline.generation = replace(pipeline.generation, image_storer=image_storer)
        self.sweep = replace(pipeline.sweep, rescue=replace(pipeline.rescue, storage=self.storage))
        self.slots = AvailableSlots(64, pipeline.health, pipeline.spill, pipeline.stopping)

    def begin(self) -> tuple[UUID, threading.Thread]:
        """A job whose image has come and cannot be stored."""
        (job_id,) = self.pipeline.submit()
        self.pipeline.dispatch.run_once()
        self.storage.away.set()
        thread = threading.Thread(target=self.pipeline.answer, daemon=True)
        thread.start()
        assert self.storage.refused.wait(10)
        return job_id, thread

    def end(self, thread: threading.Thread) -> None:
        self.storage.away.clear()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def outage(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Outage]:
    with RunningPipeline(engine, database_url, tmp_path) as pipeline:
        yield Outage(pipeline)


def test_the_image_waits_and_nothing_new_is_bought(outage: Outage) -> None:
    assert outage.slots() == 64
    job_id, thread = outage.begin()
    while outage.slots():
        assert thread.is_alive()
    assert outage.sweep.recover() == 0
    assert outage.pipeline.states(job_id) == ["CALLING"]
    outage.end(thread)
    assert outage.pipeline.status(job_id) == "COMPLETED"
    assert len(outage.pipeline.calls()) == 1
    assert outage.slots() == 64
    assert list(outage.pipeline.spill.pending()) == []


def test_a_process_that_stops_leaves_the_image_to_the_sweep(outage: Outage) -> None:
    job_id, thread = outage.begin()
    outage.pipeline.stopping.set()
    thread.join(20)
    assert not thread.is_alive(), "stopping must not wait for the storage"
    assert outage.slots() == 0
    outage.pipeline.execute("DELETE FROM processes")
    assert outage.sweep.recover() == 0, "nobody can tell what is stored"
    assert outage.pipeline.states(job_id) == ["CALLING"]
    outage.storage.away.clear()
    assert outage.sweep.recover() == 2
    assert outage.pipeline.status(job_id) == "COMPLETED"
    assert len(outage.pipeline.calls()) == 1


def test_a_spilled_image_is_found_by_the_rescue_of_its_attempt(outage: Outage) -> None:
    job_id, thread = outage.begin()
    outage.pipeline.stopping.set()
    thread.join(20)
    outage.pipeline.execute("DELETE FROM processes")
    outage.storage.away.clear()
    with outage.pipeline.runtime.engine.connect() as connection:
        (orphan,) = calls.orphaned(connection)
    outage.sweep.rescue.rescue(orphan)
    assert outage.pipeline.status(job_id) == "COMPLETED"


def test_the_sweep_stores_for_a_live_process_but_does_not_settle_for_it(outage: Outage) -> None:
    (job_id,) = outage.pipeline.submit(image_count=2)
    outage.pipeline.dispatch.run_once()
    attempt_id = outage.pipeline.rung[0].attempt_id
    with outage.pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, attempt_id, outage.pipeline.process_id, 180)
    key = output_key(request_id(MODEL, "generate", job_id), attempt_id, 1, "png")
    outage.pipeline.spill.put(key, picture(), "image/png", {"attempt_id": str(attempt_id)})
    assert outage.sweep.recover() == 1
    assert outage.storage.exists(key)
    assert outage.pipeline.rows("SELECT state FROM attempts WHERE id = :id", id=attempt_id) == [("CALLING",)]


def _orphan(outage: Outage) -> UUID:
    """A job whose attempt was begun by a process that is dead now, its image being in the storage."""
    (job_id,) = outage.pipeline.submit()
    outage.pipeline.dispatch.run_once()
    attempt_id = outage.pipeline.rung[0].attempt_id
    with outage.pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, attempt_id, outage.pipeline.process_id, 180)
    outage.storage.put(
        output_key(request_id(MODEL, "generate", job_id), attempt_id, 1, "png"), picture(), "image/png"
    )
    outage.pipeline.execute("DELETE FROM processes")
    return job_id


def _waiting(outage: Outage) -> list[str]:
    return sorted(path.suffix for path in outage.pipeline.spill.directory.iterdir())


def _junk(outage: Outage) -> None:
    outage.pipeline.spill.directory.mkdir()
    (outage.pipeline.spill.directory / "junk.spill").write_bytes(b"junk")


def _unreadable(outage: Outage) -> None:
    outage.pipeline.spill.directory.mkdir()
    (outage.pipeline.spill.directory / "folder.spill").mkdir()


def _without_attempt(outage: Outage) -> None:
    outage.pipeline.spill.put("v1/a", b"x", "image/png", {})


def _conflict(outage: Outage) -> None:
    outage.storage.put("v1/a", b"other bytes", "image/png")
    outage.pipeline.spill.put("v1/a", b"x", "image/png", {"attempt_id": str(outage.pipeline.process_id)})


@pytest.mark.parametrize(
    ("trouble", "left"),
    [
        (_junk, [".aside"]),
        (_unreadable, [".spill"]),
        (_without_attempt, [".aside"]),
        (_conflict, [".aside"]),
    ],
)
def test_a_spilled_file_that_makes_trouble_stops_no_rescue(
    outage: Outage, trouble: Callable[[Outage], None], left: list[str]
) -> None:
    trouble(outage)
    job_id = _orphan(outage)
    assert outage.sweep.recover() == 1
    assert outage.pipeline.status(job_id) == "COMPLETED"
    assert _waiting(outage) == left
    assert outage.sweep.recover() == 0


def test_an_orphan_whose_own_file_cannot_be_read_is_postponed_alone(outage: Outage) -> None:
    first = _orphan(outage)
    (row,) = outage.pipeline.rows("SELECT id FROM attempts")
    key = output_key(request_id(MODEL, "generate", first), row.id, 1, "png")
    outage.pipeline.spill.put(key, b"x", "image/png")
    (file,) = outage.pipeline.spill.directory.iterdir()
    file.unlink()
    file.mkdir()
    outage.pipeline.register(outage.pipeline.process_id)
    outage.pipeline.rung.clear()
    second = _orphan(outage)
    assert outage.sweep.recover() == 1
    assert [outage.pipeline.status(job) for job in (first, second)] == ["PROCESSING", "COMPLETED"]


def test_unspilling_leaves_time_for_orphans(outage: Outage) -> None:
    clock = iter(range(0, 1000, 4))
    rescue = replace(outage.sweep.rescue, clock=lambda: float(next(clock)))
    for number in range(20):
        note = {"attempt_id": str(outage.pipeline.process_id)}
        outage.pipeline.spill.put(f"v1/{number}", b"x", "image/png", note)
    assert 1 <= rescue.unspill() < 20
    assert 1 <= rescue.unspill() < 20


def test_the_vigil_and_the_doorbells_go_on_while_the_storage_is_away(outage: Outage) -> None:
    outage.storage.away.set()
    outage.pipeline.spill.put("v1/a", b"x", "image/png", {"attempt_id": str(outage.pipeline.process_id)})
    with pytest.raises(StorageUnavailable):
        outage.sweep.rescue.unspill()
    assert outage.sweep.run_once() == 0


class SlowStorage(RefusingStorage):
    """A storage whose puts return when so many have begun."""

    def __init__(self, inner: LocalStorage, together: int) -> None:
        super().__init__(inner)
        self.everybody = threading.Barrier(together)

    def put(self, key: str, content: bytes, media_type: str) -> None:
        self.everybody.wait(30)
        super().put(key, content, media_type)


def test_a_slow_storage_takes_more_images_at_a_time_than_are_decoded(pipeline: Pipeline) -> None:
    calls = MOST_DECODING + 2
    assert isinstance(pipeline.runtime.storage, LocalStorage)
    slow = SlowStorage(pipeline.runtime.storage, calls)
    generation = replace(pipeline.generation, image_storer=replace(pipeline.image_storer, storage=slow))
    pipeline.submit(calls)
    assert pipeline.dispatch.run_once() == calls
    with ThreadPoolExecutor(calls) as pool:
        list(pool.map(generation.run, [doorbell.attempt_id for doorbell in pipeline.rung]))
    assert pipeline.rows("SELECT status, count(*) FROM jobs GROUP BY status") == [("COMPLETED", calls)]
