"""Faults of ours after an answer: the image waits, or its loss is on record; nothing is bought again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine

from imagequeue.domain.backoff import ANSWER_READING
from imagequeue.domain.upstream import Images, Pending
from imagequeue.lifecycle.generate.available_slots import AvailableSlots
from imagequeue.lifecycle.generate.call_start import CallStart
from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.lifecycle.generate.upstream_caller import Parse, UpstreamCaller
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import StorageUnavailable
from imagequeue.providers.response import UpstreamResponse
from imagequeue.store.money.ledger import read_wallets
from tests.media.pictures import encoded
from tests.pipeline import UPSTREAM, Pipeline, RunningPipeline

FAULTS: list[Exception] = [
    StorageUnavailable("away"),
    RuntimeError("a bug"),
    ValueError("Invalid endpoint: minio:9000"),
    MemoryError(),
    OSError(28, "No space left on device"),
    KeyError("a field"),
]


class BreakingStorage(LocalStorage):
    """A directory whose first puts end with a fault."""

    def __init__(self, inner: LocalStorage, fault: Exception, times: int) -> None:
        super().__init__(inner.directory)
        self.fault, self.left = fault, times

    def put(self, key: str, content: bytes, media_type: str) -> None:
        if self.left:
            self.left -= 1
            raise self.fault
        super().put(key, content, media_type)


class BreakingParse:
    """Upstreams whose first answers end with a fault of ours when they are read."""

    def __init__(self, inner: UpstreamCaller, fault: Exception, times: int) -> None:
        self.inner, self.fault, self.left = inner, fault, times

    def caller(self) -> UpstreamCaller:
        """The same upstreams with the fault."""
        fields = {name: getattr(self.inner, name) for name in UpstreamCaller.__dataclass_fields__}
        return _BrokenCaller(**fields, broken=self.broken)

    def broken(self, parse: Parse) -> Parse:
        """A parse that fails so many times."""

        def read(response: UpstreamResponse) -> Images | Pending:
            if self.left:
                self.left -= 1
                raise self.fault
            return parse(response)

        return read


def _same(parse: Parse) -> Parse:
    return parse


@dataclass(frozen=True, slots=True)
class _BrokenCaller(UpstreamCaller):
    broken: Callable[[Parse], Parse] = field(default=_same)

    def call(self, start: CallStart) -> tuple[UpstreamResponse, Parse]:
        response, parse = UpstreamCaller.call(self, start)
        return response, self.broken(parse)


@pytest.fixture
def noisy(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline whose answers have 3 MB: they are too large to wait in memory."""
    model = {"rpm": 1000, "latency_ms": [0, 0], "texture": "noise"}
    upstreams = {"east": UPSTREAM | {"models": {"mai-image-2-5": model}}}
    with RunningPipeline(engine, database_url, tmp_path, upstreams=upstreams) as running:
        yield running


def _local(pipeline: Pipeline) -> LocalStorage:
    assert isinstance(pipeline.runtime.storage, LocalStorage)
    return pipeline.runtime.storage


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_whatever_a_storage_raises_the_image_is_kept_and_stored_later(
    pipeline: Pipeline, fault: Exception
) -> None:
    storage = BreakingStorage(_local(pipeline), fault, times=2)
    image_storer = replace(pipeline.image_storer, storage=storage)
    pipeline.generation = replace(pipeline.generation, image_storer=image_storer)
    (job_id,) = pipeline.submit()
    pipeline.run()
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert (len(pipeline.calls()), storage.left) == (1, 0)
    assert list(pipeline.spill.pending()) == []


@pytest.mark.parametrize("refusals", [0, 1], ids=["at the first put", "at its repetition"])
def test_an_image_that_is_stored_already_under_its_key_is_the_image(
    pipeline: Pipeline, refusals: int
) -> None:
    """Two polls of one attempt may download images that differ by a byte."""
    left = [refusals]

    class Doubled(LocalStorage):
        def put(self, key: str, content: bytes, media_type: str) -> None:
            if left[0]:
                left[0] -= 1
                raise StorageUnavailable("away, for one put")
            super().put(key, content + b" and a byte", media_type)
            super().put(key, content, media_type)

    image_storer = replace(pipeline.image_storer, storage=Doubled(_local(pipeline).directory))
    pipeline.generation = replace(pipeline.generation, image_storer=image_storer)
    (job_id,) = pipeline.submit()
    pipeline.run()
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    (image,) = pipeline.rows("SELECT * FROM images")
    assert image.size_bytes == len(_local(pipeline).get(image.storage_key))
    assert list(pipeline.spill.pending()) == []
    assert len(pipeline.calls()) == 1


@pytest.mark.parametrize("where", ["gone", "a file"])
def test_an_answer_outlives_a_directory_for_temporary_files_that_does_not_work(
    noisy: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    pipeline = noisy
    slots = AvailableSlots(Punctuality(64), pipeline.health, pipeline.spill, pipeline.stopping)
    assert slots() == 64
    (job_id,) = pipeline.submit(image_count=2)
    pipeline.dispatch.run_once()
    broken = tmp_path / "tmp"
    if where == "a file":
        broken.write_text("no directory")
    monkeypatch.setattr(tempfile, "tempdir", str(broken))
    assert slots() == 0, "nothing new is bought that could not be kept"
    pipeline.answer()
    monkeypatch.undo()
    assert pipeline.states(job_id) == ["SUCCEEDED"] * 2
    assert (pipeline.status(job_id), len(pipeline.calls())) == ("COMPLETED", 2)


def test_a_request_that_no_disk_takes_is_given_back_before_a_byte_is_sent(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "inputs/large"
    noise = Image.effect_noise((800, 800), 90)
    pipeline.runtime.storage.put(key, encoded(noise, "png"), "image/png")
    (job_id,) = pipeline.submit(operation="edit", input_images=(key,))
    pipeline.dispatch.run_once()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    pipeline.answer()
    monkeypatch.undo()
    assert (pipeline.states(job_id), pipeline.calls()) == (["GIVEN_BACK"], [])
    pipeline.run()
    assert (pipeline.status(job_id), len(pipeline.calls())) == ("COMPLETED", 1)


@pytest.mark.parametrize("fault", FAULTS[1:], ids=lambda fault: type(fault).__name__)
def test_an_answer_that_cannot_be_read_once_is_read_again(pipeline: Pipeline, fault: Exception) -> None:
    breaking = BreakingParse(pipeline.generation.upstreams, fault, times=1)
    pipeline.generation = replace(pipeline.generation, upstreams=breaking.caller())
    (job_id,) = pipeline.submit()
    pipeline.run()
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert len(pipeline.calls()) == 1


def test_an_answer_that_cannot_be_read_at_all_is_left_on_disk_and_not_bought_again(
    pipeline: Pipeline,
) -> None:
    breaking = BreakingParse(pipeline.generation.upstreams, RuntimeError("a bug"), times=ANSWER_READING.tries)
    pipeline.generation = replace(pipeline.generation, upstreams=breaking.caller())
    (job_id,) = pipeline.submit()
    pipeline.run()
    (attempt,) = pipeline.rows("SELECT * FROM attempts")
    assert (attempt.state, attempt.reason) == ("UNKNOWN", "a fault of the queue itself: RuntimeError")
    assert (pipeline.status(job_id), len(pipeline.calls())) == ("ERROR", 1)
    (result,) = pipeline.rows("SELECT error FROM job_results")
    assert "not repeated" in result.error
    (left,) = pipeline.spill.directory.glob(f"{attempt.id}.*")
    assert left.stat().st_size > 1000
    assert pipeline.rows("SELECT count(*) FROM deployment_states") == [(0,)], "the deployment is not to blame"
    with pipeline.runtime.engine.connect() as connection:
        wallet = read_wallets(connection, [pipeline.account_id])[pipeline.account_id]
    assert (wallet.held, wallet.spent) == (0, 0)
