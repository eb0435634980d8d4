"""A storage that is away costs time, never a second call (docs/design/pipeline.md, "Storage away")."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from imagequeue.media.gate import MOST_DECODING
from imagequeue.media.local import LocalStorage
from tests.lifecycle.generate.refusing import RefusingStorage
from tests.lifecycle.storage_outage import Outage
from tests.pipeline import Pipeline


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
    thread.join(120)
    assert not thread.is_alive(), "stopping must not wait for the storage"
    assert outage.slots() == 0
    outage.pipeline.execute("DELETE FROM processes")
    assert outage.sweep.recover() == 0, "nobody can tell what is stored"
    assert outage.pipeline.states(job_id) == ["CALLING"]
    outage.storage.away.clear()
    assert outage.sweep.recover() == 2
    assert outage.pipeline.status(job_id) == "COMPLETED"
    assert len(outage.pipeline.calls()) == 1


class SlowStorage(RefusingStorage):
    """A storage whose puts return when so many have begun."""

    def __init__(self, inner: LocalStorage, together: int) -> None:
        super().__init__(inner)
        self.everybody = threading.Barrier(together)

    def put(self, key: str, content: bytes, media_type: str) -> None:
        self.everybody.wait(120)
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
