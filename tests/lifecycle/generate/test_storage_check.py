"""A disk that is nearly full, or a storage that was away: nothing is granted until a write succeeds.

Source: docs/design/pipeline.md, "Storage away".
"""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue.lifecycle.generate.available_slots import AvailableSlots
from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.lifecycle.generate.storage_check import StorageCheck
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store import processes
from tests.lifecycle.generate.refusing import RefusingStorage
from tests.pipeline import Pipeline

MOST = 64
FAR_TOO_MUCH = 2**62


class Checked:
    """A pipeline whose worker reports its slots by hand."""

    def __init__(self, pipeline: Pipeline) -> None:
        assert isinstance(pipeline.runtime.storage, LocalStorage)
        self.pipeline, self.storage = pipeline, RefusingStorage(pipeline.runtime.storage)
        self.slots = AvailableSlots(Punctuality(MOST), pipeline.health, pipeline.spill, pipeline.stopping)
        self.check = StorageCheck(self.storage, pipeline.health)

    def grants(self) -> int:
        """Beat, and dispatch once; how many calls were granted."""
        with self.pipeline.runtime.engine.begin() as connection:
            processes.beat(connection, self.pipeline.process_id, self.slots())
        return self.pipeline.dispatch.run_once()


@pytest.fixture
def checked(pipeline: Pipeline) -> Checked:
    return Checked(pipeline)


def test_a_disk_that_is_nearly_full_stops_grants_until_a_write_succeeds(checked: Checked) -> None:
    assert (checked.check.run_once(), checked.slots()) == (1, MOST)
    checked.pipeline.submit()
    checked.storage.least_free_bytes = FAR_TOO_MUCH
    assert (checked.check.run_once(), checked.grants()) == (0, 0)
    checked.storage.least_free_bytes = 0
    checked.storage.away.set()
    assert (checked.check.run_once(), checked.grants()) == (0, 0), (
        "the disk has space, but nothing can be written"
    )
    checked.storage.away.clear()
    assert (checked.check.run_once(), checked.grants()) == (1, 1)


def test_an_input_that_cannot_be_read_stops_grants_until_a_write_succeeds(checked: Checked) -> None:
    checked.pipeline.submit()
    checked.storage.away.set()
    checked.pipeline.stopping.set()  # nobody waits for the other tries
    checked.pipeline.image_storer.offer_no_slots()
    checked.pipeline.stopping.clear()
    assert (checked.check.run_once(), checked.grants()) == (0, 0)
    checked.storage.away.clear()
    assert (checked.check.run_once(), checked.grants()) == (1, 1)


def test_a_healthy_storage_is_not_written_to(checked: Checked) -> None:
    checked.storage.away.set()
    assert checked.check.run_once() == 1
    assert not checked.storage.refused.is_set()


def test_a_write_fails_on_a_nearly_full_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="free"):
        LocalStorage(tmp_path / "media", least_free_bytes=FAR_TOO_MUCH).check_write()
