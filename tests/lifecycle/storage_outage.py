"""A storage outage: a pipeline whose storage refuses everything until the test ends that."""

from __future__ import annotations

import threading
from dataclasses import replace
from uuid import UUID

from imagequeue.lifecycle.generate.available_slots import AvailableSlots
from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.media.local import LocalStorage
from tests.lifecycle.generate.refusing import RefusingStorage
from tests.pipeline import Pipeline


class Outage:
    """A pipeline whose storage can be taken away."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        assert isinstance(pipeline.runtime.storage, LocalStorage)
        self.storage = RefusingStorage(pipeline.runtime.storage)
        image_storer = replace(pipeline.image_storer, storage=self.storage)
        pipeline.generation = replace(pipeline.generation, image_storer=image_storer)
        self.sweep = replace(pipeline.sweep, rescue=replace(pipeline.rescue, storage=self.storage))
        self.slots = AvailableSlots(Punctuality(64), pipeline.health, pipeline.spill, pipeline.stopping)

    def begin(self) -> tuple[UUID, threading.Thread]:
        """A job whose image has come and cannot be stored."""
        (job_id,) = self.pipeline.submit()
        self.pipeline.dispatch.run_once()
        self.storage.away.set()
        thread = threading.Thread(target=self.pipeline.answer, daemon=True)
        thread.start()
        assert self.storage.refused.wait(120)
        return job_id, thread

    def end(self, thread: threading.Thread) -> None:
        """Give the storage back, and wait until the image is stored."""
        self.storage.away.clear()
        thread.join(120)
        assert not thread.is_alive()
