"""Little room, or a storage that was away: nothing is granted until a write succeeds.

Source: docs/design/pipeline.md, "Storage away".
"""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue.lifecycle.generate.storage_check import StorageCheck
from imagequeue.lifecycle.generate.store_images import AvailableSlots
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store import processes
from tests.lifecycle.generate.refusing import RefusingStorage
from tests.pipeline import Pipeline

MOST = 64
FAR_TOO_MUCH = 2**62


class Probed:
    """A pipeline whose worker reports its slots by hand."""

    def __init__(self, pipeline: Pipeline) -> None:
        assert isinstance(pipeline.runtime.storage, LocalStorage)
        self.pipeline, self.storage = pipeline, RefusingStorage(pipeline.runtime.storage)
        self.slots = AvailableSlots(MOST, pipeline.health, pipeline.spill, pipeline.stopping)
        self.probe = StorageCheck(self.storage, pipeline.health)

    def grants(self) -> int:
        """Beat, and dispatch once; how many calls were granted."""
        with self.pipeline.runtime.engine.begin() as connection:
            processes.beat(connection, self.pipeline.process_id, self.slots())
        return self.pipeline.dispatch.run_once()


@pytest.fixture
def probed(pipeline: Pipeline) -> Probed:
    return Probed(pipeline)


def test_a_disk_that_is_nearly_full_stops_grants_until_a_write_succeeds(probed: Probed) -> None:
    assert (probed.probe.run_once(), probed.slots()) == (1, MOST)
    probed.pipeline.submit()
    probed.storage.least_free_bytes = FAR_TOO_MUCH
    assert (probed.probe.run_once(), probed.grants()) == (0, 0)
    probed.storage.least_free_bytes = 0
    probed.storage.away.set()
    assert (probed.probe.run_once(), probed.grants()) == (0, 0), "there is room, but nothing can be written"
    probed.storage.away.clear()
    assert (probed.probe.run_once(), probed.grants()) == (1, 1)


def test_an_input_that_cannot_be_read_stops_grants_until_a_write_succeeds(probed: Probed) -> None:
    probed.pipeline.submit()
    probed.storage.away.set()
    probed.pipeline.stopping.set()  # nobody waits for the rest
    probed.pipeline.image_storer.offer_no_slots()
    probed.pipeline.stopping.clear()
    assert (probed.probe.run_once(), probed.grants()) == (0, 0)
    probed.storage.away.clear()
    assert (probed.probe.run_once(), probed.grants()) == (1, 1)


def test_a_healthy_storage_is_not_written_to(probed: Probed) -> None:
    probed.storage.away.set()
    assert probed.probe.run_once() == 1
    assert not probed.storage.refused.is_set()


def test_a_probe_fails_without_room(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="free"):
        LocalStorage(tmp_path / "media", least_free_bytes=FAR_TOO_MUCH).check_write()
