"""Writes the output and the error file of a batch whose lines have all finished.

Every line stands in exactly one of them. A file is an upload like a client's: a row with a lease before the
first byte, and an object that is there as a whole or not at all. A process that is killed leaves a lease that
runs out, and the file is written anew, under another id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import Engine

from imagequeue.domain.batches import LineState
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.domain.ids import batch_name
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.backfill.files import LEASE_SECONDS, FileUpload
from imagequeue.lifecycle.backfill.result_lines import ResultLines
from imagequeue.lifecycle.supervise.supervise import EndFiles
from imagequeue.media.storage import StorageError
from imagequeue.runtime import Runtime
from imagequeue.store.batches import result_files, results
from imagequeue.store.batches.result_files import ERROR_STATES, OUTPUT_STATES, EndingBatch
from imagequeue.store.batches.results import LinePage
from imagequeue.store.database import one_statement
from imagequeue.store.jobs.views import read_views

log = structlog.get_logger()

PURPOSE = "batch_output"
"""What OpenAI calls the purpose of both files."""

LINES_AT_ONCE = 200
"""Lines of which one query reads the jobs."""

PART_BYTES = 8 * 1024 * 1024
"""What is sent to the storage at a time; the lease is renewed with each part."""

MOST_FILE_BYTES = 2 * 1024 * 1024 * 1024
"""Of a file with base64; from there on images are named by their URLs."""

BATCHES_AT_ONCE = 50
"""Batches that a pass looks at until it finds one to write; those that others write are among them."""


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """The verb. `stopping` says that this process ends: what is half written is given up.

    `most_file_bytes` is as `MOST_FILE_BYTES`.
    """

    runtime: Runtime
    writer: ResultLines
    media_url: Callable[[str], str]
    stopping: Callable[[], bool]
    most_file_bytes: int = MOST_FILE_BYTES

    def run_once(self) -> int:
        """Write the files of one batch that ends; how many files. One that cannot be written stops no other.

        Raises:
            ServiceUnavailable: the storage is away; the file is written anew later.
            StorageError: an image cannot be read.
        """
        with one_statement(self.runtime.engine) as connection:
            batches = result_files.ending_batches(connection, BATCHES_AT_ONCE)
        failed: ServiceUnavailable | StorageError | None = None
        for batch in batches:
            try:
                if written := self._write_missing(batch):
                    return written
            except (ServiceUnavailable, StorageError) as error:
                log.warning("results_postponed", batch_id=str(batch.id), reason=type(error).__name__)
                failed = error
        if failed is not None:
            raise failed
        return 0

    def _write_missing(self, batch: EndingBatch) -> int:
        with self.runtime.engine.begin() as connection:
            missing = _missing(batch, result_files.written_files(connection, batch))
        return sum(self._write(batch, kind) for kind in missing if not self.stopping())

    def _write(self, batch: EndingBatch, kind: str) -> bool:
        upload, name = FileUpload(self.runtime, batch.account_id, batch.id), _name(batch, kind)
        insert = partial(
            result_files.begin_result_file, batch=batch, filename=name, lease_seconds=LEASE_SECONDS
        )
        if not upload.begin(insert):
            return False
        try:
            for part in self._parts(batch, OUTPUT_STATES if kind == "output" else ERROR_STATES):
                if self.stopping():
                    upload.abandon()
                    return False
                upload.write(part)
                failpoint("results.part_written")
            failpoint("results.before_finish")
            seconds = batch.output_expires_after_seconds
            upload.finish(purpose=PURPOSE, filename=name, expires_seconds=seconds)
        except BaseException:
            upload.abandon()
            raise
        log.info("results_written", batch_id=str(batch.id), file=kind, size_bytes=upload.size_bytes)
        return True

    def _parts(self, batch: EndingBatch, states: Collection[LineState]) -> Iterator[bytes]:
        """The bytes of a file in parts. One line is in memory beside the part."""
        part, size = bytearray(), 0
        for line in self._lines(batch, states):
            part += line(size < self.most_file_bytes)
            if len(part) >= PART_BYTES:
                size += len(part)
                yield bytes(part)
                part.clear()
        yield bytes(part)

    def _lines(self, batch: EndingBatch, states: Collection[LineState]) -> Iterator[Callable[[bool], bytes]]:
        """The lines in the order in which they finished; each is written when it is asked for."""
        after, headers = 0, batch.client_headers
        while found := self._next(batch.id, after, states):
            after = found[-1].finished or after
            with self.runtime.engine.begin() as connection:
                ids = [line.job_id for line in found if line.job_id]
                jobs = read_views(connection, ids, self.media_url) if ids else {}
            for line in found:
                job = jobs.get(line.job_id) if line.job_id else None
                yield lambda has_room, line=line, job=job: self.writer.line(
                    line, job, headers, has_room=has_room
                )

    def _next(self, batch_id: UUID, after: int, states: Collection[LineState]) -> list[results.LineView]:
        with self.runtime.engine.begin() as connection:
            return results.finished_lines(connection, LinePage(batch_id, after, LINES_AT_ONCE, states))


def files_of_end(engine: Engine, batch_id: UUID) -> EndFiles | None:
    """The files of a batch that ends; None: they are not all written yet."""
    with engine.begin() as connection:
        batch = result_files.ending_batch(connection, batch_id)
        there = result_files.written_files(connection, batch) if batch else {}
    if batch is None or _missing(batch, there):
        return None
    return EndFiles(there.get(_name(batch, "output")), there.get(_name(batch, "error")))


def _missing(batch: EndingBatch, there: Collection[str]) -> list[str]:
    wanted = [kind for kind, has in (("output", batch.has_output), ("error", batch.has_errors)) if has]
    return [kind for kind in wanted if _name(batch, kind) not in there]


def _name(batch: EndingBatch, kind: str) -> str:
    return f"{batch_name(batch.id)}_{kind}.jsonl"
