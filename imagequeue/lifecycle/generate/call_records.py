"""What the threads of a process read and write about their calls: by one statement where it comes together.

While one statement runs, what comes meanwhile gathers for the next one. Reading a ticket takes no lock, and
nobody but the process that calls writes the moment of sending, so no thread waits for another's lock. A start
is made alone: it may wait for a transaction that ends the job.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine

from imagequeue.coalescing import ThreadCoalescer
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import CallTicket
from imagequeue.store.database import one_statement

MOST = 64
"""In one statement: as many as a worker process usually has threads."""


@dataclass(frozen=True, slots=True)
class TicketReading:
    """A ticket (None: there is none), and when its reading began and ended (seconds of `time.monotonic`)."""

    ticket: CallTicket | None
    began: float
    ended: float


class CallRecords:
    """Reads tickets and records sent requests. Shared by the threads of a process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tickets = ThreadCoalescer(self._read_tickets, most=MOST)
        self._sent = ThreadCoalescer(self._record_sent, most=MOST)

    def read_ticket(self, attempt_id: UUID) -> TicketReading:
        """Read an attempt for its call."""
        return self._tickets.call(attempt_id)

    def start(self, attempt_id: UUID, process_id: UUID, timeout: float) -> bool:
        """Move an attempt to CALLING; False: do not call (`store/attempts/calls.py`, `start`)."""
        with one_statement(self._engine) as connection:
            return calls.start(connection, attempt_id, process_id, timeout)

    def record_sent(self, attempt_id: UUID, moment: float) -> None:
        """Store when the request body was written (seconds of `time.monotonic`): then the token runs."""
        self._sent.call((attempt_id, moment))

    def _read_tickets(self, attempt_ids: Sequence[UUID]) -> list[TicketReading]:
        with one_statement(self._engine) as connection:
            began = time.monotonic()  # the wait for a connection is over
            tickets = calls.read_tickets(connection, attempt_ids)
            ended = time.monotonic()
        return [TicketReading(tickets.get(attempt_id), began, ended) for attempt_id in attempt_ids]

    def _record_sent(self, sent: Sequence[tuple[UUID, float]]) -> list[None]:
        with one_statement(self._engine) as connection:
            now = time.monotonic()
            calls.record_sent(connection, {attempt_id: now - moment for attempt_id, moment in sent})
        return [None] * len(sent)
