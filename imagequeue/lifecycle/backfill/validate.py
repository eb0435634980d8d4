"""Validate: read the file of a batch, check every line, and insert the lines (docs/design/backfills.md).

The work on a part is durable. It goes on in chunks, each of them one commit: the lines, and the byte and the
line that are reached. A process that is killed loses a chunk; the next one goes on there when the lease is
over. While one chunk is written the next one is read, so that the database and this process work at once.

No line runs before its whole part is valid. Up to 100 errors are collected; then the batch is failed, and its
lines are deleted in steps.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from imagequeue.domain.batches import OPEN_BATCHES, BatchState, PartState
from imagequeue.domain.ids import batch_name
from imagequeue.domain.webhooks import parse_schedule
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.backfill.check_line import LineCheck, ReadText
from imagequeue.lifecycle.backfill.check_lines import PartCheck, error_of
from imagequeue.lifecycle.backfill.chunk import Chunk, LineWriter, gathered, progressed
from imagequeue.lifecycle.backfill.line_feed import file_lines
from imagequeue.lifecycle.deliver.batch_events import BatchEvent, write_batch_event
from imagequeue.media.storage import ObjectMissing
from imagequeue.runtime import Runtime
from imagequeue.store.batches import parts
from imagequeue.store.batches.lines import delete_lines
from imagequeue.store.batches.parts import LeasedPart
from imagequeue.store.database import one_statement

log = structlog.get_logger()

LEASE_SECONDS = 120.0
"""Renewed with each chunk: far longer than one takes, and what a killed process costs."""

TURN_SECONDS = 10.0
"""After so long a part lets another one have a turn, so that a short file waits for no long one."""

DELETED_AT_ONCE = 10_000
"""Lines of a failed part in one commit: about a tenth of a second."""

MOST_DELETIONS = 20
"""Of one turn, so that others have theirs."""

OpenReader = Callable[[str | None, Mapping[str, str]], ReadText]
"""What reads the lines of a batch, by its endpoint and the headers that it was created with."""


class PartLost(Exception):
    """Another process works on the part, or its batch is not to be validated any more."""


@dataclass(slots=True)
class Validation:
    """Takes turns with the parts that wait, until `stopping` is set. `clock` gives monotonic seconds."""

    runtime: Runtime
    open_reader: OpenReader
    stopping: threading.Event
    clock: Callable[[], float] = time.monotonic
    moved_at: float = float("-inf")

    def run_once(self) -> int:
        """Have one turn; how many lines were read, or deleted.

        Raises:
            StorageUnavailable: the file cannot be read now; its lease is waited for.
            DBAPIError: the database is away.
        """
        with one_statement(self.runtime.engine) as connection:
            part = parts.lease_part(connection, LEASE_SECONDS)
        if part is None:
            return 0
        if part.state is PartState.FAILED:
            return _delete(self.runtime, part)
        return self._turn(part)

    def _turn(self, part: LeasedPart) -> int:
        catalog = self.runtime.catalog
        read = self.open_reader(part.endpoint, part.client_headers)
        line_check = LineCheck(self.runtime, part.account_id, catalog, read)
        check = PartCheck(self.runtime.engine, part, line_check, list(part.progress.errors))
        check.remember()
        turn = ValidationTurn(self.runtime, part, check)
        try:
            if turn.run(self._yielding(part)):
                turn.end()
            else:
                turn.put_back()
        except PartLost:
            turn.stop()
        except ObjectMissing:
            check.errors.append(error_of("file_missing", "The file is not stored any more"))
            turn.fail()
        return turn.lines

    def age(self) -> float:
        """Seconds since a turn last moved on by a chunk: a long file is one long turn."""
        return self.clock() - self.moved_at

    def _yielding(self, part: LeasedPart) -> Callable[[], bool]:
        """What a turn asks after each chunk: whether it is to let others have theirs."""
        until = self.clock() + TURN_SECONDS

        def yields() -> bool:
            self.moved_at = self.clock()
            if self.stopping.is_set():
                return True
            # A dry run has nothing to go on from, so its turn is a whole one.
            return not part.dry_run and self.moved_at > until and self._another_waits()

        return yields

    def _another_waits(self) -> bool:
        with self.runtime.engine.begin() as connection:
            return parts.another_waits(connection)


class ValidationTurn:
    """One turn with one part."""

    def __init__(self, runtime: Runtime, part: LeasedPart, check: PartCheck) -> None:
        self.lines = 0
        self._runtime, self._part, self._check = runtime, part, check
        self._progress, self._lease = part.progress, part.lease
        self._writer = LineWriter(part)
        self._demand = Counter[tuple[str, str]]()
        self._writing: Future[datetime] | None = None

    def run(self, yields: Callable[[], bool]) -> bool:
        """Read and write until the end of the file; False: others are to have their turn first.

        Raises:
            PartLost: nothing more was written.
            StorageError: the file cannot be read.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="validate") as pool:
            try:
                for chunk in self._chunks():
                    self._wait()
                    self._writing = pool.submit(self._write, chunk, self._lease)
                    if yields() and chunk.progress.byte_reached < self._part.size_bytes:
                        return False
            finally:
                self._wait()
        return True

    def end(self) -> None:
        """The whole file is read: its lines may run, or it has errors."""
        if not self._check.errors and self._progress.line_count == 0:
            self._check.errors.append(error_of("empty_file", "The file has no lines"))
        if self._check.errors:
            self.fail()
        else:
            self._publish()

    def fail(self) -> None:
        """The part has errors: nothing of it will run."""
        with self._runtime.engine.begin() as connection:
            state = parts.batch_state(connection, self._part.batch_id)
            ended = parts.end_part(connection, self._part, self._lease, PartState.FAILED, self._check.errors)
            if ended and self._part.part == 1 and state is BatchState.VALIDATING:
                self._fail_batch(connection)
        failpoint("validate.failed")
        if ended:
            _delete(self._runtime, self._part, self._lease)

    def _fail_batch(self, connection: Connection) -> None:
        failed = parts.fail_batch(connection, self._part.batch_id)
        if failed is None:
            return
        told = {"id": batch_name(self._part.batch_id), "object": "batch", "status": "failed"}
        data = json.dumps(told | {"errors": {"object": "list", "data": self._check.errors}})
        event = BatchEvent(
            self._part.account_id, self._part.batch_id, "batch.failed", data, failed.now, failed.webhook_url
        )
        write_batch_event(connection, event, parse_schedule(self._runtime.settings.webhook_schedule))

    def stop(self) -> None:
        """The part was lost to another process; or its batch is not to have it, and its lines are deleted."""
        log.info("part_lost", batch_id=str(self._part.batch_id), part=self._part.part)
        with self._runtime.engine.begin() as connection:
            stops = not _goes_on(parts.batch_state(connection, self._part.batch_id))
            ended = stops and parts.end_part(connection, self._part, self._lease, PartState.FAILED)
        if ended:
            _delete(self._runtime, self._part, self._lease)

    def _publish(self) -> None:
        with self._runtime.engine.begin() as connection:
            state = parts.batch_state(connection, self._part.batch_id)
            ended = PartState.VALID if _goes_on(state) else PartState.FAILED
            if not parts.end_part(connection, self._part, self._lease, ended):
                return
            if ended is PartState.VALID and self._part.dry_run:
                parts.end_dry_run(connection, self._part, self._demand)
            elif ended is PartState.VALID:
                parts.publish_lines(connection, self._part, self._progress, state)
        if ended is PartState.FAILED:
            _delete(self._runtime, self._part, self._lease)

    def _wait(self) -> None:
        """Wait for the chunk that is being written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            self._lease = writing.result()

    def _chunks(self) -> Iterator[Chunk]:
        part, before = self._part, self._progress
        lines = file_lines(
            self._runtime.storage, part.storage_key, part.size_bytes, before.byte_reached, before.line_reached
        )
        for group in gathered(lines):
            if self._check.is_over:
                return
            valid = self._check.check(group)
            self._progress = progressed(self._progress, group, valid, tuple(self._check.errors))
            self.lines += len(group)
            if part.dry_run:
                self._demand.update((line.checked.model_id, line.checked.requirement) for line in valid)
            yield Chunk(valid, self._progress)

    def _write(self, chunk: Chunk, lease: datetime) -> datetime:
        """Commit a chunk; the new lease."""
        with self._runtime.engine.begin() as connection:
            renewed = parts.save_progress(connection, self._part, chunk.progress, lease, LEASE_SECONDS)
            if renewed is None:
                raise PartLost
            if not self._part.dry_run:
                self._writer.write(connection, chunk)
            failpoint("validate.before_commit")
        failpoint("validate.after_commit")
        return renewed

    def put_back(self) -> None:
        """Let another part have its turn."""
        with self._runtime.engine.begin() as connection:
            parts.put_back(connection, self._part, self._lease)


def _goes_on(state: BatchState) -> bool:
    """Whether a batch in this state takes lines."""
    return state is BatchState.VALIDATING or state in OPEN_BATCHES


def _delete(runtime: Runtime, part: LeasedPart, lease: datetime | None = None) -> int:
    """Delete the lines of a failed part in steps; how many there were."""
    first, deleted, held = part.first_number, 0, lease or part.lease
    for _ in range(MOST_DELETIONS):
        with runtime.engine.begin() as connection:
            last = parts.last_number(connection, part)
            step = delete_lines(connection, part.batch_id, first, last, DELETED_AT_ONCE)
            deleted += step
            if step < DELETED_AT_ONCE:
                parts.release_part(connection, part, held)
                return deleted
    with runtime.engine.begin() as connection:
        parts.put_back(connection, part, held)
    return deleted
