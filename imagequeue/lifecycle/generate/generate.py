"""Generate: one upstream call for one attempt, from the doorbell to its settled outcome.

1. Read the attempt; a doorbell that is not needed is dropped.
2. Call its deployment: `UpstreamCaller.call` loads input images, has the adapter build the request, opens the
   connection, lets `CallStart` wait for the planned start and move the attempt to CALLING, and sends. Where
   the upstream has taken the request already (the attempt is SLEEPING), ask it for the result (`poll.py`).
3. Check and store the images of the answer (`store_images.py`).
4. Settle what it came to (`record_outcome.py`).

Whatever happens after the start ends in a settled outcome. Where that is impossible (the process stops while
the database or the storage is away; a fault of ours), this process lets the attempt go, and the sweep settles
it from what is stored of it.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.backoff import ANSWER_READING, FAILED_POLL
from imagequeue.domain.upstream import Images, LinkBroken, Pending, Unavailable, UpstreamError
from imagequeue.domain.verdicts import AnswerLost, AttemptOutcome, GivenBack, OwnFault, Succeeded
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.call_records import CallRecords
from imagequeue.lifecycle.generate.call_start import CallStart
from imagequeue.lifecycle.generate.poll import PollFailed, StillPending, poll
from imagequeue.lifecycle.generate.record_outcome import OutcomeRecorder
from imagequeue.lifecycle.generate.start_window import StartWindow
from imagequeue.lifecycle.generate.store_images import HandedToSweep, ImageStorer
from imagequeue.lifecycle.generate.upstream_caller import Parse, UpstreamCaller
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.media.gate import DECODING
from imagequeue.media.storage import StorageError
from imagequeue.providers.response import UpstreamResponse
from imagequeue.store.attempts import polls
from imagequeue.store.attempts.calls import CallTicket
from imagequeue.store.database import one_statement

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Generation:
    """The verb, with what it needs."""

    engine: Engine
    records: CallRecords
    process: WorkerProcess
    upstreams: UpstreamCaller
    image_storer: ImageStorer
    recorder: OutcomeRecorder
    random: Random = field(default_factory=Random)

    def run(self, attempt_id: UUID) -> None:
        """Answer a doorbell. Every outcome is settled; a doorbell that is not needed is dropped."""
        rung_at = time.monotonic()
        with self.process.in_flight.take(attempt_id) as ours:
            start = self._read(attempt_id, rung_at) if ours else None
            if start is not None:
                self._run(start)

    def _read(self, attempt_id: UUID, rung_at: float) -> CallStart | None:
        """Read the attempt; None: there is nothing to do for it now."""
        try:
            reading = self.records.read_ticket(attempt_id)
            ticket = reading.ticket
            if ticket is None or not ticket.has_work or not self._may_poll(ticket):
                return None
        except SQLAlchemyError as error:  # nothing has begun: the sweep rings again
            log.warning("doorbell_unread", attempt_id=str(attempt_id), reason=type(error).__name__)
            return None
        # `starts_in` counts from some moment of the reading, so both ends of it are given.
        window = StartWindow.of(ticket.starts_in, reading.began, reading.ended)
        return CallStart(self.records, self.process, self.upstreams.catalog, ticket, window, rung_at)

    def _may_poll(self, ticket: CallTicket) -> bool:
        """Take the lease of a poll, if it is one; False: somebody else asks for the result."""
        if ticket.state != "SLEEPING":
            return True
        with one_statement(self.engine) as connection:
            return polls.begin_poll(connection, ticket.attempt_id, self.process.id)

    def _run(self, start: CallStart) -> None:
        try:
            outcome = self._outcome(start)
            failpoint("generate.before_settle")
            self.recorder.record(start.ticket, outcome)
        except HandedToSweep as error:
            log.warning("attempt_left_behind", attempt_id=str(start.ticket.attempt_id), reason=str(error))

    def _outcome(self, start: CallStart) -> AttemptOutcome | Pending:
        ticket = start.ticket
        try:
            response, parse = self._exchanged(start)
            with response:
                return self._answered(start, response, parse)
        except StillPending as error:  # the poll failed, not the request: the attempt sleeps until the next
            wait = FAILED_POLL.wait_seconds(ticket.poll_failures + 1, self.random)
            return PollFailed(ticket.upstream_reference or "", wait, reason=error.reason)
        except LinkBroken as error:
            return _asked_again(ticket) or error
        except UpstreamError as error:
            return error
        except HandedToSweep:
            raise
        except Exception as error:
            log.exception("attempt_broke", attempt_id=str(ticket.attempt_id))
            reason = f"a fault of the queue itself: {type(error).__name__}"
            sent = start.started or ticket.upstream_reference
            return _asked_again(ticket) or (AnswerLost(reason) if sent else OwnFault(reason))

    def _exchanged(self, start: CallStart) -> tuple[UpstreamResponse, Parse]:
        if start.ticket.state == "SLEEPING":
            return poll(self.upstreams, start.ticket)
        start.require_in_time()  # also before the work for a call that would be given back
        try:
            return self.upstreams.call(start)
        except (StorageError, OSError) as error:  # an input image, or the disk where a request waits
            if start.started:
                raise
            self.image_storer.offer_no_slots()  # nothing was sent, and nothing is lost by waiting
            raise GivenBack(f"the request cannot be made: {error}", started=False) from error

    def _answered(
        self, start: CallStart, response: UpstreamResponse, parse: Parse
    ) -> AttemptOutcome | Pending:
        """What an answer comes to. It is paid for: a fault of ours on the way is no reason for another call.

        Memory or a disk may be there again a moment later, so reading it is tried again. An answer that
        cannot be read then is left on the local disk, for the operator.
        """
        ticket, failures = start.ticket, 0
        while True:
            try:
                return self._taken(start, response, parse)
            except (UpstreamError, HandedToSweep):
                raise
            except Exception:
                failures += 1
                log.exception("answer_unread", attempt_id=str(ticket.attempt_id), tries=failures)
                if failures >= ANSWER_READING.tries:
                    self.image_storer.leave_answer(ticket, response)
                    raise
                self.process.stopping.wait(ANSWER_READING.full_seconds(failures))

    def _taken(self, start: CallStart, response: UpstreamResponse, parse: Parse) -> AttemptOutcome | Pending:
        """Parse and check inside `DECODING`, which lets few threads decode at a time, for their memory.

        What waits for a network waits outside of it.

        A small answer is parsed at once: it may be a reference, which must not wait to be stored.
        """
        ticket, until = start.ticket, start.until
        with DECODING if response.is_large else nullcontext():
            answer = _parsed(parse, response)
            if isinstance(answer, Pending):
                return answer
            came = len(answer.images)
            checked = self.image_storer.checked(ticket, answer.images, until)
            if all(image.content is not None for image in answer.images):
                checked, answer = list(checked), Images((), answer.cost_usd)
        try:
            kept = self.image_storer.store(ticket, checked)
        except UpstreamError as error:  # none can be used, and all are paid
            error.cost_usd, error.paid_images = answer.cost_usd, came
            raise
        stored = self.image_storer.finish(kept)
        return Succeeded(stored, answer.cost_usd, unusable_images=came - len(stored))


def _asked_again(ticket: CallTicket) -> Pending | None:
    """Poll once more, if the upstream has the request and the deadline leaves time: that buys nothing."""
    return Pending(ticket.upstream_reference or "") if ticket.is_polled_again else None


def _parsed(parse: Parse, response: UpstreamResponse) -> Images | Pending:
    """Fewer images than asked are paid all the same: they are kept, and the rest is asked for again."""
    try:
        return parse(response)
    except Unavailable as error:
        if not error.images:
            raise
        return Images(error.images, error.cost_usd)
