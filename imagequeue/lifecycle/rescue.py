"""Rescue: what came of an attempt whose process died?

In this order (pipeline.md, "UNKNOWN"): the images of that attempt that lie in the storage, or in this
machine's spill, are its result. Without any nobody knows, and the verdict on `ProcessDied` decides whether
the call may be made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import Engine

from imagequeue.domain.ids import request_id
from imagequeue.domain.verdicts import Outcome, ProcessDied, StoredImage, Succeeded
from imagequeue.lifecycle.settle import Settlement
from imagequeue.media.images import check_output
from imagequeue.media.keys import output_key
from imagequeue.media.spill import Spill
from imagequeue.media.storage import Storage
from imagequeue.store import attempts
from imagequeue.store.attempts import CallTicket

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rescue:
    """The verb, with what it needs."""

    engine: Engine
    storage: Storage
    spill: Spill
    settlement: Settlement

    def rescue(self, attempt_id: UUID) -> None:
        """Settle an attempt for the process that cannot do it any more."""
        with self.engine.connect() as connection:
            ticket = attempts.read_ticket(connection, attempt_id)
        outcome = self._outcome(ticket) if ticket else ProcessDied("the process that made the call died")
        log.warning("attempt_rescued", attempt_id=str(attempt_id), outcome=type(outcome).__name__)
        self.settlement.settle(attempt_id, outcome)

    def unspill(self) -> int:
        """Store what a storage outage left on this machine's disk, and settle what it belongs to.

        Raises:
            StorageUnavailable: the storage is still away; nothing is lost.
        """
        owners = set[str]()
        for spilled in self.spill.pending():
            self.storage.put(spilled.key, spilled.content(), spilled.media_type)
            self.spill.remove(spilled.key)
            owners.add(spilled.note["attempt_id"])
        for attempt_id in owners:
            self._settle_found(UUID(attempt_id))
        return len(owners)

    def _settle_found(self, attempt_id: UUID) -> None:
        with self.engine.connect() as connection:
            ticket = attempts.read_ticket(connection, attempt_id)
        images = tuple(self._stored(ticket)) if ticket else ()
        if images:
            self.settlement.settle(attempt_id, Succeeded(images))

    def _outcome(self, ticket: CallTicket) -> Outcome:
        images = tuple(self._stored(ticket))
        return Succeeded(images) if images else ProcessDied("the process that made the call died")

    def _stored(self, ticket: CallTicket) -> Iterator[StoredImage]:
        """The images of an attempt that lie in the storage."""
        output_format = ticket.parameters["output_format"]
        name = request_id(ticket.model_id, ticket.parameters["operation"], ticket.job_id)
        for number in range(1, ticket.image_count + 1):
            key = output_key(name, ticket.attempt_id, number, output_format)
            if self.storage.exists(key):
                image = check_output(self.storage.get(key), output_format)
                yield StoredImage(key, image.media_type, image.width, image.height, len(image.content))
