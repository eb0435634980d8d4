"""Generate: one upstream call for one attempt, from the doorbell to its settled outcome.

Everything slow comes before the slot: reading, building the request, opening the connection. Then the
sender asks `_Watch` for leave, at the last moment before the first byte: it waits for the attempt's slot on
this machine's monotonic clock, moves the attempt to CALLING, and looks once more whether the moment has
passed in between. Late calls bunch up, and bunched calls are how a quota is exceeded
(rate-limiting.md), so a late one is given back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import httpx
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.quota import LEASE_SLACK
from imagequeue.domain.upstream import Images, Pending, Unavailable, UpstreamError
from imagequeue.domain.verdicts import GivenBack, Outcome, Succeeded
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.inputs import Inputs
from imagequeue.lifecycle.keep import Keeper
from imagequeue.lifecycle.poll import Parse, Polling, StillPending
from imagequeue.lifecycle.settle import Settlement
from imagequeue.media.gate import DECODING
from imagequeue.media.storage import StorageError
from imagequeue.providers.exchange import response_limit, send
from imagequeue.providers.provider import Call
from imagequeue.providers.registry import PROVIDERS
from imagequeue.providers.response import UpstreamResponse
from imagequeue.store import attempts
from imagequeue.store.attempts import CallTicket

log = structlog.get_logger()

_SETTLE_RETRY_SECONDS = 1.0
_RINGABLE = ("RELEASED", "SLEEPING")


class DoorbellDropped(Exception):
    """Somebody else makes this call, or nobody needs it any more."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The verb, with what it needs. `stopping` is set when the process is asked to end."""

    engine: Engine
    catalog: Callable[[], Catalog]
    secret: Callable[[Deployment], str]
    client: httpx.Client
    inputs: Inputs
    polling: Polling
    keeper: Keeper
    settlement: Settlement
    process_id: UUID
    stopping: threading.Event

    def run(self, attempt_id: UUID) -> None:
        """Answer a doorbell. Every outcome is settled; a doorbell that is not needed is dropped."""
        read_at = time.monotonic()
        with self.engine.connect() as connection:
            ticket = attempts.read_ticket(connection, attempt_id)
        if ticket is None or ticket.state not in _RINGABLE:
            return
        slot = Slot.of(ticket.starts_in, read_at, time.monotonic())
        try:
            outcome = self._outcome(ticket, slot)
        except DoorbellDropped:
            return
        failpoint("generate.before_settle")
        if isinstance(outcome, Pending):
            self._surely(ticket, outcome, lambda: self.polling.sleep(ticket, outcome))
        else:
            self._surely(ticket, outcome, lambda: self.settlement.settle(ticket.attempt_id, outcome))

    def _outcome(self, ticket: CallTicket, slot: Slot) -> Outcome | Pending:
        try:
            response, parse = self._exchanged(ticket, slot)
            with response:
                return self._taken(ticket, response, parse)
        except StillPending:
            return Pending(ticket.upstream_reference or "")
        except UpstreamError as error:
            return error

    def _exchanged(self, ticket: CallTicket, slot: Slot) -> tuple[UpstreamResponse, Parse]:
        return self.polling.ask(ticket) if ticket.state == "SLEEPING" else self._call(ticket, slot)

    def _taken(self, ticket: CallTicket, response: UpstreamResponse, parse: Parse) -> Outcome | Pending:
        """Parse and keep inside the decoding gate; what waits for a network waits outside of it."""
        with DECODING:
            answer = _parsed(parse, response)
            if isinstance(answer, Images) and all(image.content is not None for image in answer.images):
                kept = self.keeper.keep(ticket, answer.images)
                answer = Images((), answer.cost_usd)
            else:
                kept = None
        if isinstance(answer, Pending):
            return answer
        kept = kept or self.keeper.keep(ticket, answer.images)
        return Succeeded(self.keeper.finish(kept), answer.cost_usd)

    def _call(self, ticket: CallTicket, slot: Slot) -> tuple[UpstreamResponse, Parse]:
        deployment = self.catalog().deployment(ticket.deployment)
        if deployment is None:
            raise GivenBack("the catalog no longer has this deployment", started=False)
        provider = PROVIDERS[deployment.provider]
        request = provider.build(self._prepared(ticket), deployment, self.secret(deployment))
        slot_watch = _Watch(self, ticket.attempt_id, deployment, slot)
        response = send(
            request,
            client=self.client,
            deadline_seconds=deployment.timeout_seconds + max(0.0, slot.opens - time.monotonic()),
            max_bytes=response_limit(ticket.image_count),
            on_sent=slot_watch.sent,
            before_send=slot_watch.leave,
        )
        failpoint("generate.answered")
        return response, lambda answered: provider.parse(answered, ticket.image_count)

    def _prepared(self, ticket: CallTicket) -> Call:
        """The call with its input images at hand, before the slot comes."""
        asked = ImageRequest.from_parameters(ticket.model_id, ticket.prompt, ticket.parameters)
        try:
            images, mask = self.inputs.load(ticket.job_id, asked)
        except StorageError as error:
            raise GivenBack(f"an input image cannot be read: {error}", started=False) from error
        return Call(
            prompt=asked.prompt,
            operation=asked.operation,
            image_count=ticket.image_count,
            shape=asked.shape,
            output_format=asked.output_format,
            options=asked.options,
            input_images=images,
            mask=mask,
        )

    def _surely(self, ticket: CallTicket, outcome: Outcome | Pending, store: Callable[[], object]) -> None:
        """Store as soon as the database takes it: what is in our hands is not lost to its absence."""
        while True:
            try:
                store()
            except OperationalError as error:
                log.warning(
                    "settle_postponed", attempt_id=str(ticket.attempt_id), reason=type(error).__name__
                )
                threading.Event().wait(_SETTLE_RETRY_SECONDS)
            else:
                log.info("attempt_settled", **_summary(ticket, outcome))
                return


@dataclass(frozen=True, slots=True)
class Slot:
    """Between which moments an attempt's call may start, on this machine's monotonic clock.

    The database said how long it was until `slot_at`, at some moment of the reading; nobody knows which.
    So the slot opens as if that had been the reading's end, and closes as if it had been its beginning:
    however slow the reading was, the call never starts early, and never later than its lease.
    """

    opens: float
    closes: float

    @classmethod
    def of(cls, starts_in: float, began: float, ended: float) -> Slot:
        """From what a reading said that began and ended at these moments."""
        return cls(ended + starts_in, began + starts_in + LEASE_SLACK)


@dataclass(slots=True)
class _Watch:
    """What the sender asks at the moments that matter to the quota."""

    generation: Generation
    attempt_id: UUID
    deployment: Deployment
    slot: Slot

    def leave(self) -> None:
        """Wait for the slot and move the attempt to CALLING; the next thing to happen is the first byte.

        Raises:
            GivenBack: the process stops, or the moment has passed.
            DoorbellDropped: somebody else makes the call, or its job has ended.
        """
        if self.generation.stopping.wait(max(0.0, self.slot.opens - time.monotonic())):
            raise GivenBack("the worker stops", started=False)
        if self._late():
            raise GivenBack("too late for the slot", started=False)
        failpoint("generate.before_start")
        if not self._start():
            raise DoorbellDropped
        failpoint("generate.started")
        if self._late():
            raise GivenBack("too late for the slot", started=True)

    def sent(self, moment: float) -> None:
        """Store when the request body was written: from then on the token runs."""
        failpoint("generate.sent")
        with self.generation.engine.begin() as connection:
            attempts.record_sent(connection, self.attempt_id, ago=time.monotonic() - moment)

    def _start(self) -> bool:
        timeout = self.deployment.timeout_seconds
        try:
            with self.generation.engine.begin() as connection:
                return attempts.start(connection, self.attempt_id, self.generation.process_id, timeout)
        except OperationalError as error:
            raise GivenBack("the database is away", started=True, certain=False) from error

    def _late(self) -> bool:
        return time.monotonic() > self.slot.closes


def _parsed(parse: Parse, response: UpstreamResponse) -> Images | Pending:
    """Fewer images than asked are paid all the same: they are kept, and the rest is asked for again."""
    try:
        return parse(response)
    except Unavailable as error:
        if not error.images:
            raise
        return Images(error.images, error.cost_usd)


def _summary(ticket: CallTicket, outcome: Outcome | Pending) -> dict[str, str]:
    return {
        "action": "generate",
        "job_id": str(ticket.job_id),
        "attempt_id": str(ticket.attempt_id),
        "deployment": ticket.deployment,
        "outcome": type(outcome).__name__,
        "reason": outcome.reason if isinstance(outcome, UpstreamError) else "",
    }
