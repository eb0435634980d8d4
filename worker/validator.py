"""The worker process of the queue `backfills`: it validates the files of batches and writes their results.

No message of Celery is on this queue: which file waits stands in Postgres, and a loop looks for it. A process
of its own, because reading a million lines keeps a processor busy for a minute, which neither an answer of
the API nor an upstream call may wait for.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from imagequeue import backfill_wiring
from imagequeue.backfill_wiring import result_files
from imagequeue.lifecycle.operate import reload_catalog
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.sweep.heartbeat import beating, this_process
from imagequeue.loops import Loop, Watchdog
from imagequeue.runtime import Runtime
from imagequeue.signals import give_up, on_hangup, on_termination
from worker.names import BACKFILLS

LOOK_SECONDS = 1.0
"""Between two looks while no file waits: what a small batch waits at most before it is begun."""

WATCH_SECONDS = 5.0

NICENESS = 10
"""Added to the process's own (nice(2)): where processors are short, answers and upstream calls go first."""

LONGEST_CHUNK_SECONDS = 120.0
"""Without a chunk that was read and written, or a pass: the process hangs, and its lease is over, too."""


@dataclass(frozen=True, slots=True)
class IdlePause:
    """Waits only after a pass that found nothing to do, or until the process stops."""

    stopping: threading.Event

    def __call__(self, done: int) -> None:
        """Pause."""
        if not done:
            self.stopping.wait(LOOK_SECONDS)


def run_validator(runtime: Runtime) -> None:
    """Validate until SIGTERM; the chunk that is being written ends first."""
    os.nice(NICENESS)
    stopping = threading.Event()
    on_termination(lambda _: stopping.set())
    catalog, validation = CatalogWatch(runtime), backfill_wiring.validation(runtime, stopping)
    on_hangup(lambda _: catalog.hung_up.set())
    results = result_files(runtime, stopping)
    validating = Loop("validation", validation.run_once, IdlePause(stopping), stopping)
    writing = Loop("results", results.run_once, IdlePause(stopping), stopping)
    watchdog = Watchdog(lambda: [min(validating.age(), validation.age())], give_up, LONGEST_CHUNK_SECONDS)
    process = this_process("worker", queues=(BACKFILLS,))
    with beating(runtime, process), validating.running(), writing.running():
        Loop.every(reload_catalog.INTERVAL_SECONDS, "catalog", catalog.run_once, stopping).start()
        Loop.every(WATCH_SECONDS, "watchdog", watchdog.run_once, stopping).start().join()
