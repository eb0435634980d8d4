"""Generate: one upstream call for one attempt, from the doorbell to its settled outcome.

Everything slow comes before the slot: reading, building the request, opening the connection. Then the
sender asks `_Watch` for leave, at the last moment before the first byte: it waits for the attempt's slot on
this machine's monotonic clock, moves the attempt to CALLING, and looks once more whether the moment has
passed in between. Late calls bunch up, and bunched calls are how a quota is exceeded
(docs/design/rate-limiting.md, "The start of a call"), so a late one is given back.

Whatever happens after CALLING ends in a settled outcome. Where that is impossible (the process stops
while the database or the storage is away; a fault of ours), the attempt leaves this process's custody, and
the sweep takes it up with what is stored of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.upstream import Ambiguous, Images, Pending, Unavailable, UpstreamError
from imagequeue.domain.verdicts import AttemptOutcome, GivenBack, OwnFault, Succeeded
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.in_flight import InFlight
from imagequeue.lifecycle.generate.inputs import Inputs
from imagequeue.lifecycle.generate.poll import Parse, Polling, StillPending
from imagequeue.lifecycle.generate.prepare import prepared
from imagequeue.lifecycle.generate.start_window import StartWindow
from imagequeue.lifecycle.generate.store_images import HandedToSweep, ImageStorer
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.media.gate import DECODING
from imagequeue.media.storage import StorageError
from imagequeue.providers.exchange import response_limit, send
from imagequeue.providers.registry import PROVIDERS
from imagequeue.providers.request_body import spooled_request
from imagequeue.providers.response import UpstreamResponse
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import CallTicket

log = structlog.get_logger()

_SETTLE_RETRY_SECONDS = 1.0

_FAULTS = (IntegrityError, DataError, ProgrammingError)
"""What no repetition cures."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The verb, with what it needs. `stopping` is set when the process is asked to end."""

    engine: Engine
    catalog: Callable[[], Catalog]
    secret: Callable[[Deployment], str]
    client: httpx.Client
    inputs: Inputs
    polling: Polling
    image_storer: ImageStorer
    settlement: Settlement
    callback_url: Callable[[UUID], str]
    process_id: UUID
    stopping: threading.Event
    in_flight: InFlight = field(default_factory=InFlight)
    last_tries: int = 8
    """So often, a second apart, a process that stops asks the database; its supervisor waits 15 s."""

    def run(self, attempt_id: UUID) -> None:
        """Answer a doorbell. Every outcome is settled; a doorbell that is not needed is dropped."""
        with self.in_flight.take(attempt_id) as ours:
            if ours:
                self._run(attempt_id)

    def _run(self, attempt_id: UUID) -> None:
        read_at = time.monotonic()
        try:
            with self.engine.connect() as connection:
                ticket = calls.read_ticket(connection, attempt_id)
        except SQLAlchemyError as error:  # nothing has begun: the sweep rings again
            log.warning("doorbell_unread", attempt_id=str(attempt_id), reason=type(error).__name__)
            return
        if ticket is None or not ticket.has_work:
            return
        slot = StartWindow.of(ticket.starts_in, read_at, time.monotonic())
        watch = _Watch(self, ticket, slot)
        try:
            outcome = self._outcome(ticket, watch)
            failpoint("generate.before_settle")
            self._store_until_stopped(ticket, outcome)
        except HandedToSweep as error:
            log.warning("attempt_left_behind", attempt_id=str(attempt_id), reason=str(error))

    def _outcome(self, ticket: CallTicket, watch: _Watch) -> AttemptOutcome | Pending:
        try:
            response, parse = self._exchanged(ticket, watch)
            with response:
                return self._taken(watch, response, parse)
        except StillPending:
            return Pending(ticket.upstream_reference or "")
        except UpstreamError as error:
            return error
        except HandedToSweep:
            raise
        except Exception as error:
            log.exception("attempt_broke", attempt_id=str(ticket.attempt_id))
            if ticket.upstream_reference and not ticket.is_overdue:  # the upstream has it, and is asked again
                return Pending(ticket.upstream_reference)
            reason = f"a fault of the queue itself: {type(error).__name__}"
            return Ambiguous(reason) if watch.started or ticket.upstream_reference else OwnFault(reason)

    def _exchanged(self, ticket: CallTicket, watch: _Watch) -> tuple[UpstreamResponse, Parse]:
        if ticket.state == "SLEEPING":
            return self.polling.ask(ticket)
        try:
            return self._call(ticket, watch)
        except StorageError as error:  # an input image; nothing was sent, and nothing is lost by waiting
            self.image_storer.offer_no_slots()
            raise GivenBack(f"an input image cannot be had: {error}", started=False) from error

    def _taken(self, watch: _Watch, response: UpstreamResponse, parse: Parse) -> AttemptOutcome | Pending:
        """Parse and check inside the decoding gate; what waits for a network waits outside of it.

        A small answer is parsed at once: it may be a reference, which must not wait to be stored.
        """
        ticket, until = watch.ticket, watch.until
        with DECODING if response.is_large else nullcontext():
            answer = _parsed(parse, response)
            if isinstance(answer, Pending):
                return answer
            checked = self.image_storer.checked(ticket, answer.images, until)
            if all(image.content is not None for image in answer.images):
                checked, answer = list(checked), Images((), answer.cost_usd)
        kept = self.image_storer.store(ticket, checked)
        return Succeeded(self.image_storer.finish(kept), answer.cost_usd)

    def _call(self, ticket: CallTicket, watch: _Watch) -> tuple[UpstreamResponse, Parse]:
        deployment = watch.deployment
        provider, secret = PROVIDERS[deployment.provider], self.secret(deployment)
        asked = ImageRequest.from_parameters(ticket.model_id, ticket.prompt, ticket.parameters)
        callback_url = self.callback_url(ticket.attempt_id) if deployment.callbacks else None
        with spooled_request(
            lambda: provider.build(prepared(self.inputs, ticket, asked, callback_url), deployment, secret),
            large=asked.operation == "edit",
        ) as request:
            response = send(
                request,
                client=self.client,
                deadline_seconds=deployment.timeout_seconds
                + max(0.0, watch.start_window.opens - time.monotonic()),
                max_bytes=response_limit(ticket.image_count),
                on_sent=watch.sent,
                before_send=watch.leave,
            )
        failpoint("generate.answered")
        return response, lambda answered: provider.parse(answered, ticket.image_count)

    def _store_until_stopped(self, ticket: CallTicket, outcome: AttemptOutcome | Pending) -> None:
        """Store as soon as the database takes it: what is in our hands is not lost to its absence.

        Raises:
            LeftBehind: the process stops and the database is still away, or never will take it.
        """
        tries_when_stopping = self.last_tries
        while True:
            try:
                self._store(ticket, outcome)
            except _FAULTS as error:
                log.exception("settle_refused", attempt_id=str(ticket.attempt_id))
                raise HandedToSweep(type(error).__name__) from error
            except SQLAlchemyError as error:
                reason = type(error).__name__
                log.warning("settle_postponed", attempt_id=str(ticket.attempt_id), reason=reason)
                tries_when_stopping -= self.stopping.is_set()
                if tries_when_stopping < 0:
                    raise HandedToSweep(reason) from error
                threading.Event().wait(_SETTLE_RETRY_SECONDS)
            else:
                log.info("attempt_settled", **_summary(ticket, outcome))
                return

    def _store(self, ticket: CallTicket, outcome: AttemptOutcome | Pending) -> None:
        if isinstance(outcome, Pending):
            self.polling.sleep(ticket, self.process_id, outcome)
        else:
            self.settlement.settle(ticket.attempt_id, outcome, self.process_id, ticket.upstream_reference)


@dataclass(slots=True)
class _Watch:
    """What the sender asks at the moments that matter to the quota; whether the call has started."""

    generation: Generation
    ticket: CallTicket
    start_window: StartWindow
    started: bool = False

    @property
    def deployment(self) -> Deployment:
        """Where the call goes.

        Raises:
            GivenBack: the catalog no longer has it.
        """
        found = self.generation.catalog().deployment(self.ticket.deployment)
        if found is None:
            raise GivenBack("the catalog no longer has this deployment", started=False)
        return found

    @property
    def until(self) -> float:
        """The total deadline of the call, on the monotonic clock; where nobody knows it, its slot."""
        if self.ticket.gives_up_in is not None:
            return self.start_window.opens - self.ticket.starts_in + self.ticket.gives_up_in
        found = self.generation.catalog().deployment(self.ticket.deployment)
        return self.start_window.opens + (found.timeout_seconds if found else 0.0)

    def leave(self) -> None:
        """Wait for the slot and move the attempt to CALLING; the next thing to happen is the first byte.

        Raises:
            GivenBack: the process stops, the moment has passed, or the call may not start: its group was
                blocked meanwhile, or somebody else made it or ended its job, and has the attempt; then
                giving it back changes nothing.
        """
        if self.generation.stopping.wait(max(0.0, self.start_window.opens - time.monotonic())):
            raise GivenBack("the worker stops", started=False)
        if self._late():
            raise GivenBack("too late for the slot", started=False)
        failpoint("generate.before_start")
        if not self._start():
            raise GivenBack("the call may not start", started=False)
        self.started = True
        failpoint("generate.started")
        if self._late():
            raise GivenBack("too late for the slot", started=True)

    def sent(self, moment: float) -> None:
        """Store when the request body was written: from then on the token runs."""
        failpoint("generate.sent")
        with self.generation.engine.begin() as connection:
            calls.record_sent(connection, self.ticket.attempt_id, ago=time.monotonic() - moment)

    def _start(self) -> bool:
        timeout = self.deployment.timeout_seconds
        try:
            with self.generation.engine.begin() as connection:
                process_id = self.generation.process_id
                return calls.start(connection, self.ticket.attempt_id, process_id, timeout)
        except SQLAlchemyError as error:
            raise GivenBack("the database is away", started=True, certain=False) from error

    def _late(self) -> bool:
        return time.monotonic() > self.start_window.closes


def _parsed(parse: Parse, response: UpstreamResponse) -> Images | Pending:
    """Fewer images than asked are paid all the same: they are kept, and the rest is asked for again."""
    try:
        return parse(response)
    except Unavailable as error:
        if not error.images:
            raise
        return Images(error.images, error.cost_usd)


def _summary(ticket: CallTicket, outcome: AttemptOutcome | Pending) -> dict[str, str]:
    return {
        "action": "generate",
        "job_id": str(ticket.job_id),
        "attempt_id": str(ticket.attempt_id),
        "deployment": ticket.deployment,
        "outcome": type(outcome).__name__,
        "reason": outcome.reason if isinstance(outcome, UpstreamError) else "",
    }
