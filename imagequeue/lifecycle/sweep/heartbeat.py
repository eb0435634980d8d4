"""Heartbeat: a process says that it lives by counting up in its row.

The counter vouches for the attempts that the process is calling. One that was declared dead, because it
stood still too long, finds its row gone and writes it again: what it calls from then on is its own again, and
what was taken from it is settled by whoever is first.

Every kind of process says so by `beating`, and by nothing else; the row also says how many calls it can take.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.generate.in_flight import InFlight
from imagequeue.loops import Loop, retry_until_stopped
from imagequeue.runtime import Runtime, open_database
from imagequeue.store import processes
from imagequeue.store.attempts import calls
from imagequeue.store.database import separate_statements
from imagequeue.store.processes import ProcessRecord

log = structlog.get_logger()

INTERVAL_SECONDS = 2.0


def no_slots() -> int:
    """What a process says that makes no calls."""
    return 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The verb, with what it needs. `slots` says how many calls the process can take at the moment.

    `engine` is a pool of the heartbeat alone: one that every thread of the process shares may be used up by
    all of them waiting for each other, and then a process that works would look dead.
    """

    engine: Engine
    process: ProcessRecord
    slots: Callable[[], int] = no_slots
    in_flight: InFlight = field(default_factory=InFlight)

    def run_once(self) -> int:
        """Beat once; 1 when the row is there, 0 when it was gone and has been written again."""
        # A beat and the deadlines that it renews are one commit; who makes no calls has none to renew.
        opened = self.engine.begin() if self.process.slots else separate_statements(self.engine)
        with opened as connection:
            known = processes.beat(connection, self.process.id, self.slots())
            if not known:
                processes.register(connection, self.process)
            # What is in hand is looked up after the beat: what starts later has a later deadline anyway.
            calls.renew(connection, self.in_flight.held(), self.process.id)
        if not known:
            log.info("process_registered", process_id=str(self.process.id), pid=self.process.pid)
        return int(known)

    def leave(self) -> None:
        """Take the row away: this process calls nothing any more."""
        try:
            with self.engine.begin() as connection:
                processes.forget(connection, [self.process.id])
        except SQLAlchemyError as error:  # it may have stopped first; the failure detector drops the row
            log.info("leave_failed", reason=type(error).__name__)


@contextmanager
def beating(
    runtime: Runtime,
    process: ProcessRecord,
    *,
    slots: Callable[[], int] = no_slots,
    in_flight: InFlight | None = None,
    first_until: threading.Event | None = None,
) -> Generator[Loop]:
    """Say that a process lives while the context is open, on a connection of the heartbeat alone.

    Args:
        runtime: whose database.
        process: the process, as `this_process` describes it.
        slots: how many calls it can take at the moment.
        in_flight: the attempts that it has in hand.
        first_until: where given, the first beat is waited for, unless this is set before.
    """
    engine = open_database(runtime.settings, pool_size=1, name="heartbeat")
    heartbeat = Heartbeat(engine, process, slots, in_flight or InFlight())
    try:
        if first_until is not None:
            retry_until_stopped(heartbeat.run_once, first_until)
        ended = threading.Event()
        with Loop.every(INTERVAL_SECONDS, "heartbeat", heartbeat.run_once, ended).running() as loop:
            yield loop
    finally:
        heartbeat.leave()
        engine.dispose()


def this_process(
    kind: str, *, queues: Sequence[str] = (), slots: int = 0, delivery_slots: int = 0
) -> ProcessRecord:
    """Describe the running process under a new id."""
    host, pid = socket.gethostname(), os.getpid()
    return ProcessRecord(new_id(), kind, host, pid, tuple(queues), slots, delivery_slots)
