"""Supervise: what has to be done with each batch that has not ended, one step at a time.

`domain/batch_progress.py` decides the step; here it is done. A step that a crash interrupts is done again,
because what it did is in the rows. Several dispatchers may supervise: a step locks the batch's row and
decides again, and lines that move in many short transactions are locked by each of these.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from imagequeue.domain.batch_progress import Progress, Step, end_state, next_step
from imagequeue.domain.batches import BatchState, LineError, PauseReason
from imagequeue.domain.jobs import JobStatus
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.supervise.reasons import Reasons
from imagequeue.store.batches import control, steps
from imagequeue.store.batches.control import BatchRow
from imagequeue.store.database import TooSlow, separate_statements
from imagequeue.store.jobs.flows import follow_batch

log = structlog.get_logger()

INTERVAL_SECONDS = 1.0
"""Between two passes: the brake, an expiry and the end of a batch come this much late."""

BATCHES_AT_ONCE = 500
"""Batches that one statement lists."""

LINES_AT_ONCE = 2_000
"""Lines that one transaction moves, so that it stays short; the step goes on with the next ones."""

JOBS_AT_ONCE = 200
"""Jobs that one transaction ends: each has a hold, a final body and webhooks."""

LOCK_SECONDS = 1.0
"""The wait for a lock of an account, before its batch is left to the next pass."""

PASS_SECONDS = 10.0
"""After so long a pass begins no further step: the watchdog ends loops that stand for 60 s."""

ACCOUNT_SECONDS = 2.0
"""After so long in a pass the batches of an account begin no further step, so that others have theirs."""

_TEXTS = {
    LineError.BATCH_CANCELLED: "The batch was cancelled before the line ran",
    LineError.BATCH_EXPIRED: "The window of the batch was over before the line ran",
}
_STATUSES = {LineError.BATCH_CANCELLED: JobStatus.FAILED, LineError.BATCH_EXPIRED: JobStatus.ERROR}


_BEFORE_ALL = UUID(int=0)


class EndFiles(NamedTuple):
    """The files with the results of a batch; None: there is no such line."""

    output_file_id: UUID | None = None
    error_file_id: UUID | None = None


WriteFiles = Callable[[UUID], EndFiles | None]
"""Has the files of a batch that ends written. Asked again and again; None: they are not written yet."""


@dataclass(slots=True)
class Supervision:
    """Makes passes over the batches that have not ended."""

    engine: Engine
    settlement: Settlement
    reasons: Reasons
    write_files: WriteFiles
    clock: Callable[[], float] = time.monotonic
    after: UUID = _BEFORE_ALL

    def run_once(self) -> int:
        """Do what is to be done now; how many steps. A pass goes on where the one before had no more time."""
        left = defaultdict[UUID, float](lambda: ACCOUNT_SECONDS)
        until, done = self.clock() + PASS_SECONDS, 0
        while batches := self._unfinished():
            for batch, step in batches:
                if step is not Step.NOTHING:
                    began = self.clock()
                    done += self._supervise(batch.id, min(until, began + left[batch.account_id]))
                    left[batch.account_id] -= self.clock() - began
                self.after = batch.id
                if self.clock() >= until:
                    return done
        self.after = _BEFORE_ALL
        return done

    def _unfinished(self) -> list[tuple[BatchRow, Step]]:
        """The next batches, each with its next step."""
        with separate_statements(self.engine) as connection:
            batches = control.unfinished_batches(connection, self.after, BATCHES_AT_ONCE)
            return [(batch, next_step(_progress(connection, batch))) for batch in batches]

    def _supervise(self, batch_id: UUID, until: float) -> int:
        """The steps of one batch, until it waits or the time of the pass is over."""
        done = 0
        try:
            while self.clock() < until and self._step(batch_id):
                done += 1
        except TooSlow:
            log.warning("batch_postponed", batch_id=str(batch_id))
        return done

    def _step(self, batch_id: UUID) -> bool:
        """Do the next step; False: there is none now."""
        with self.engine.begin() as connection:
            batch = control.look_at_batch(connection, batch_id)
            step = next_step(_progress(connection, batch)) if batch else Step.NOTHING
        if batch is None or step is Step.NOTHING:
            return False
        match step:
            case Step.RETRY:
                return self._move_lines(batch)
            case Step.GIVE_UP:
                return self._give_up(batch)
            case Step.END_LINES:
                return self._end_lines(batch)
            case Step.FINISH:
                return self._finish(batch)
            case _:
                return self._decide(batch_id, step)

    def _decide(self, batch_id: UUID, step: Step) -> bool:
        """Expire, finalize, pause or let go on, under the lock of the batch and by what is true there."""
        with self.engine.begin() as connection:
            batch = control.lock_batch(connection, batch_id)
            progress = _progress(connection, batch) if batch else None
            if batch is None or progress is None or next_step(progress) is not step:
                return False
            if step is Step.SET_REASONS:
                self.reasons.set(connection, batch, progress.reasons_now)
            else:
                expiring = step is Step.EXPIRE
                control.move_batch(connection, batch_id, BatchState.FINALIZING, expiring=expiring)
                follow_batch(connection, batch_id)
            failpoint("supervise.before_commit")
        log.info("batch_moved", batch_id=str(batch_id), step=step.value)
        return True

    def _move_lines(self, batch: BatchRow) -> bool:
        """Let some lines of a retry wait again; the last step of it says that it is over."""
        with self.engine.begin() as connection:
            now = control.lock_batch(connection, batch.id)
            if now is None or now.retry_to is None:
                return False
            moved = steps.retry_lines(connection, now.id, now.retry_to, now.retry_codes, LINES_AT_ONCE)
            if not moved:
                control.set_terms(connection, now.id, {"retry_to": None, "retry_codes": None})
            failpoint("supervise.retrying")
        return True

    def _give_up(self, batch: BatchRow) -> bool:
        with self.engine.begin() as connection:
            now = control.lock_batch(connection, batch.id)
            if now is None or now.give_up_to is None:
                return False
            if not steps.give_up_lines(connection, now.id, now.give_up_to, LINES_AT_ONCE):
                control.set_terms(connection, now.id, {"give_up_to": None})
                kept = now.reasons - {PauseReason.UNKNOWN_OUTCOMES}
                self.reasons.set(connection, now, kept)
        return True

    def _end_lines(self, batch: BatchRow) -> bool:
        """End lines that wait, and jobs without a call in flight; False: only calls in flight are left."""
        cancelled = batch.state is BatchState.CANCELLING
        code = LineError.BATCH_CANCELLED if cancelled else LineError.BATCH_EXPIRED
        with self.engine.begin() as connection:
            ended = steps.end_waiting(connection, batch.id, code, _TEXTS[code], LINES_AT_ONCE)
            failpoint("supervise.ending")
        if ended:
            return True
        with self.engine.begin() as connection:
            job_ids = steps.idle_jobs(connection, batch.id, JOBS_AT_ONCE)
        return bool(job_ids) and bool(
            self.settlement.end(job_ids, _STATUSES[code], _TEXTS[code], code, lock_seconds=LOCK_SECONDS)
        )

    def _finish(self, batch: BatchRow) -> bool:
        """Have the files written, and end the batch; False: they are not written yet."""
        files = self.write_files(batch.id)
        if files is None:
            return False
        with self.engine.begin() as connection:
            now = control.lock_batch(connection, batch.id)
            if now is None or now.state is not batch.state or now.counts["waiting"] + now.counts["queued"]:
                return False
            state = end_state(now.state, expiring=now.expiring)
            control.move_batch(connection, now.id, state, expiring=now.expiring)
            control.set_files(connection, now.id, files.output_file_id, files.error_file_id)
            self.reasons.events.ended(connection, replace(now, state=state), state)
            failpoint("supervise.finishing")
        log.info("batch_ended", batch_id=str(batch.id), state=state.value)
        return True


def _progress(connection: Connection, batch: BatchRow) -> Progress:
    # Asked only where the answer counts: it reads as many lines as the limit has.
    is_idle = bool(batch.counts["waiting"]) and not batch.counts["queued"]
    limit_reached = is_idle and control.is_limit_reached(connection, batch)
    return batch.progress(limit_reached=limit_reached, failing=control.is_failing(connection, batch))
