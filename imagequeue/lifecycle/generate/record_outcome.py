"""Record what became of an attempt, for as long as the database needs to take it.

What an answer told is paid for, so the absence of the database does not lose it. Only a process that is asked
to stop gives up after a while, and the sweep takes the attempt up with what is stored of it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    MultipleResultsFound,
    NoResultFound,
    ProgrammingError,
    SQLAlchemyError,
)

from imagequeue.domain.backoff import OUTCOME_SETTLING
from imagequeue.domain.upstream import Pending, UpstreamError
from imagequeue.domain.verdicts import AttemptOutcome, Succeeded
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.poll import PollFailed
from imagequeue.lifecycle.generate.store_images import HandedToSweep
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.lifecycle.settle import feedback
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.settle.successes import Successes
from imagequeue.store.attempts import calls, polls
from imagequeue.store.attempts.calls import CallTicket

log = structlog.get_logger()

INCURABLE = (IntegrityError, DataError, ProgrammingError, NoResultFound, MultipleResultsFound)
"""What no repetition cures."""


@dataclass(slots=True)
class OutcomeRecorder:
    """Settles attempts of one process, or lets them sleep until their next poll.

    A process that is asked to stop makes `last_tries` more tries, because its supervisor waits for 15 s.
    """

    engine: Engine
    settlement: Settlement
    process: WorkerProcess
    last_tries: int = OUTCOME_SETTLING.tries
    successes: Successes = field(init=False)

    def __post_init__(self) -> None:
        self.successes = Successes(self.settlement)

    def record(self, ticket: CallTicket, outcome: AttemptOutcome | Pending) -> None:
        """Store the outcome as soon as the database takes it.

        Raises:
            HandedToSweep: the process stops and the database is still away, or it refuses the outcome.
        """
        tries_when_stopping = self.last_tries
        if isinstance(outcome, Succeeded) and self.successes.settle(ticket.attempt_id, outcome):
            log.info("attempt_settled", **_summary(ticket, outcome))
            return
        while True:
            try:
                self._record(ticket, outcome)
            except INCURABLE as error:
                self._refused(ticket, outcome, error)
                raise HandedToSweep(type(error).__name__) from error
            except SQLAlchemyError as error:
                reason = type(error).__name__
                log.warning("settle_postponed", attempt_id=str(ticket.attempt_id), reason=reason)
                tries_when_stopping -= self.process.stopping.is_set()
                if tries_when_stopping < 0:
                    raise HandedToSweep(reason) from error
                threading.Event().wait(OUTCOME_SETTLING.first_seconds)
            except Exception as error:
                self._refused(ticket, outcome, error)
                raise HandedToSweep(type(error).__name__) from error
            else:
                log.info("attempt_settled", **_summary(ticket, outcome))
                return

    def _refused(self, ticket: CallTicket, outcome: AttemptOutcome | Pending, error: Exception) -> None:
        """Put the reason and the cost of the call on record; the sweep settles what is stored of it."""
        noted = {"attempt_id": str(ticket.attempt_id), "cost_usd": str(outcome.cost_usd)}
        log.error("settle_refused", **noted, exc_info=error)
        if isinstance(outcome, Pending):
            return
        reason = f"its outcome could not be recorded: {type(error).__name__}"
        try:
            self.settlement.note_refusal(ticket.attempt_id, outcome, reason)
        except SQLAlchemyError:
            log.exception("refusal_unrecorded", attempt_id=str(ticket.attempt_id))

    def _record(self, ticket: CallTicket, outcome: AttemptOutcome | Pending) -> None:
        if isinstance(outcome, Pending):
            self._let_sleep(ticket, outcome)
        else:
            self.settlement.settle(ticket.attempt_id, outcome, self.process.id, ticket.upstream_reference)

    def _let_sleep(self, ticket: CallTicket, pending: Pending) -> None:
        """Store the reference and let the attempt sleep until its next poll."""
        seconds = pending.poll_after_seconds
        with self.engine.begin() as connection:
            if ticket.state == "SLEEPING":
                self._end_poll(connection, ticket.attempt_id, pending)
            else:
                calls.sleep(connection, ticket.attempt_id, self.process.id, pending.reference, seconds)
        failpoint("generate.sleeping")

    def _end_poll(self, connection: Connection, attempt_id: UUID, pending: Pending) -> None:
        """The breaker counts one of an attempt's failed polls in a row, so that no attempt alone opens it."""
        seconds, failed = pending.poll_after_seconds, isinstance(pending, PollFailed)
        in_a_row = polls.end_poll(connection, attempt_id, self.process.id, seconds, failed=failed)
        if isinstance(pending, PollFailed) and in_a_row == 1:
            feedback.poll_failed(connection, attempt_id, pending.reason, self.settlement.random)


def _summary(ticket: CallTicket, outcome: AttemptOutcome | Pending) -> dict[str, str]:
    return {
        "action": "generate",
        "job_id": str(ticket.job_id),
        "attempt_id": str(ticket.attempt_id),
        "deployment": ticket.deployment,
        "outcome": type(outcome).__name__,
        "reason": outcome.reason if isinstance(outcome, UpstreamError | PollFailed) else "",
    }
