"""Sweep: find what was lost on a job's way, and repair it (docs/design/pipeline.md, "Sweep").

Attempts that no worker started in time are rung again, jobs past their deadline end as ERROR, processes whose
heartbeat stands still are removed, and the calls of dead processes are settled. Every step may be repeated,
and several dispatchers may do it at the same time.

Each step is a loop of its own, so that a storage that hangs delays the rescue only: the failure detector
must read often, and doorbells must not wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.jobs import Lane
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.sweep.failure_detector import FailureDetector
from imagequeue.lifecycle.sweep.overdue import end_overdue
from imagequeue.lifecycle.sweep.rescue import Rescue
from imagequeue.lifecycle.sweep.used_up import end_used_up
from imagequeue.media.spill import SpillUnavailable
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store import processes
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import Doorbell, Orphan
from imagequeue.store.database import TooSlow, one_statement, separate_statements

log = structlog.get_logger()

AT_ONCE = 500
"""Rows that one step handles, so that a transaction stays short; the next step handles more."""

INTERVAL_SECONDS = 5.0
DEADLINES_SECONDS = 1.0
"""Between two searches for jobs past their deadline: a job may end this much late."""

RESCUE_SECONDS = 20.0
"""After so long no further orphan is rescued in one step: the watchdog ends loops that stand for 60 s."""


@dataclass(slots=True)
class Sweep:
    """The steps of the sweep. `release` sends doorbells.

    `waiting` counts the doorbells that wait in the list of a lane; None while Redis is away.
    """

    engine: Engine
    settlement: Settlement
    rescue: Rescue
    release: Callable[[Sequence[Doorbell]], None]
    waiting: Callable[[Lane], int | None]
    failure_detector: FailureDetector = field(default_factory=FailureDetector)
    random: Random = field(default_factory=Random)

    def run_once(self) -> int:
        """Do every step once; how many rows were repaired."""
        ended = self.end_overdue() + self.end_used_up()
        return self.ring_again() + ended + self.watch() + self.recover()

    def ring_again(self) -> int:
        """Send a doorbell again for the attempts that no worker started in time; how many.

        None is sent to a list that is as long as the attempts to start are many: theirs wait there.
        """
        return sum(map(self._ring_again, Lane))

    def _ring_again(self, lane: Lane) -> int:
        waiting = self.waiting(lane)
        if waiting is None:
            return 0
        with self.engine.begin() as connection:
            found = calls.release_again(connection, lane, waiting, AT_ONCE)
            failpoint("sweep.ringing")
        if found:
            self.release(found)
        return len(found)

    def end_overdue(self) -> int:
        """End the jobs whose deadline has passed; how many."""
        return end_overdue(self.engine, self.settlement)

    def end_used_up(self) -> int:
        """End the jobs that no deployment is left to serve; how many."""
        return end_used_up(self.engine, self.settlement)

    def watch(self) -> int:
        """Read every heartbeat, and remove the rows of the processes that are dead; how many."""
        try:
            with separate_statements(self.engine) as connection:
                beats = processes.beats(connection)
                dead = self.failure_detector.observe(beats)
                buried = processes.remove_dead(connection, {id_: beats[id_] for id_ in dead}) if dead else []
        except SQLAlchemyError:
            self.failure_detector.restart()
            raise
        for process_id in buried:
            log.warning("process_found_dead", process_id=str(process_id))
        return len(buried)

    def recover(self) -> int:
        """Store what was spilled, and settle the orphaned calls; how many of both.

        While the storage is away this does nothing: a rescue that cannot see what is stored would have a
        paid image made again.
        """
        try:
            stored = self.rescue.unspill()
            return stored + self._rescue_until(time.monotonic() + RESCUE_SECONDS)
        except StorageUnavailable as error:
            log.warning("rescue_postponed", reason=str(error))
            return 0

    def _rescue_until(self, until: float) -> int:
        with one_statement(self.engine) as connection:
            lost = calls.orphaned(connection, AT_ONCE)
        failpoint("sweep.found_orphans")
        self.random.shuffle(lost)  # those that have to wait for locked rows keep no others from their turn
        rescued = 0
        for orphan in lost:
            if time.monotonic() > until:
                break
            rescued += self._rescue(orphan)
        return rescued

    def _rescue(self, orphan: Orphan) -> bool:
        try:
            self.rescue.rescue(orphan)
        except (SpillUnavailable, TooSlow) as error:  # one file, or a locked row of one account
            log.warning("rescue_postponed", attempt_id=str(orphan.attempt_id), reason=str(error))
            return False
        except (StorageUnavailable, SQLAlchemyError):
            raise
        except Exception:  # an orphan that cannot be rescued must not stop the rescue of the others
            log.exception("rescue_failed", attempt_id=str(orphan.attempt_id))
            return False
        return True
