"""Heartbeat: a process says that it lives by counting up in its row.

The counter vouches for the attempts that the process is calling. One that was declared dead, because it
stood still too long, finds its row gone and writes it again: what it calls from then on is its own again, and
what was taken from it is settled by whoever is first.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.generate.in_flight import InFlight
from imagequeue.store import processes
from imagequeue.store.attempts import calls
from imagequeue.store.processes import ProcessRecord

log = structlog.get_logger()

INTERVAL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The loop of one process. `slots` says how many calls it can take at the moment.

    It needs a pool of its own: one that every thread of the process shares may be used up by all of them
    waiting for each other, and then a process that works would look dead.
    """

    engine: Engine
    process: ProcessRecord
    slots: Callable[[], int]
    in_flight: InFlight = field(default_factory=InFlight)

    def run_once(self) -> int:
        """Beat once; 1 when the row is there, 0 when it was gone and has been written again."""
        with self.engine.begin() as connection:
            known = processes.beat(connection, self.process.id, self.slots())
            if not known:
                processes.register(connection, self.process)
            # What is in hand is looked up after the beat: what starts later has a later deadline anyway.
            calls.renew(connection, self.in_flight.held())
        if not known:
            log.info("process_registered", process_id=str(self.process.id), pid=self.process.pid)
        return int(known)

    def run(self, stopping: threading.Event) -> None:
        """Beat until the process stops; then take the row away."""
        while True:
            try:
                self.run_once()
            except SQLAlchemyError as error:
                log.warning("heartbeat_failed", reason=type(error).__name__)
            if stopping.wait(INTERVAL_SECONDS):
                return

    def leave(self) -> None:
        """Take the row away: this process calls nothing any more."""
        with self.engine.begin() as connection:
            processes.forget(connection, [self.process.id])


def this_process(kind: str, *, queues: Sequence[str] = (), slots: int = 0) -> ProcessRecord:
    """Describe the running process under a new id."""
    return ProcessRecord(new_id(), kind, socket.gethostname(), os.getpid(), tuple(queues), slots)
