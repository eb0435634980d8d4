"""Rescue: what came of an attempt whose process died?

In this order (pipeline.md, "UNKNOWN"): the upstream that has told its reference is asked for the result; the
images of that attempt that lie in the storage, or in this machine's spill, are its result. Without any nobody
knows, and the verdict on `ProcessDied` decides whether the upstream may still call back, or whether the call
may be made again.

What lies in the spill may belong to an attempt that a live process has in hand. It is stored all the same,
since that is harmless, but only its owner, or the rescue of an orphan, says what the attempt came to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import Engine

from imagequeue.domain.ids import request_id
from imagequeue.domain.images import OutputFormat
from imagequeue.domain.upstream import Unavailable
from imagequeue.domain.verdicts import Outcome, ProcessDied, StoredImage, Succeeded
from imagequeue.lifecycle.settle import Settlement
from imagequeue.media.images import check_output
from imagequeue.media.keys import output_key
from imagequeue.media.spill import Spill, SpilledObject
from imagequeue.media.storage import KeyConflict, ObjectMissing, Storage
from imagequeue.store import attempts
from imagequeue.store.attempts import CallTicket, Orphan

log = structlog.get_logger()

_DIED = "the process that made the call died"
_GIVEN_UP = ("UNKNOWN", "LOST")


@dataclass(frozen=True, slots=True)
class Rescue:
    """The verb, with what it needs."""

    engine: Engine
    storage: Storage
    spill: Spill
    settlement: Settlement

    def rescue(self, orphan: Orphan) -> None:
        """Settle an attempt for the process that cannot do it any more.

        Raises:
            StorageUnavailable: nobody can tell what is stored of it; to be tried again.
        """
        with self.engine.connect() as connection:
            ticket = attempts.read_ticket(connection, orphan.attempt_id)
        outcome = self._outcome(ticket) if ticket else ProcessDied(_DIED)
        log.warning(
            "attempt_rescued",
            attempt_id=str(orphan.attempt_id),
            process_id=str(orphan.process_id),
            outcome=type(outcome).__name__,
        )
        self.settlement.settle(orphan.attempt_id, outcome)

    def unspill(self) -> int:
        """Store what a storage outage left on this machine's disk, and settle what it belongs to.

        Raises:
            StorageUnavailable: the storage is still away; nothing is lost.
        """
        count = 0
        for spilled in self.spill.pending():
            count += self._store(spilled)
        return count

    def _store(self, spilled: SpilledObject) -> bool:
        try:
            self.storage.put(spilled.key, spilled.content(), spilled.media_type)
        except KeyConflict:  # a fault of this program; it must not keep the others waiting
            log.exception("spilled_object_conflicts", storage_key=spilled.key)
            return False
        self._settle_if_given_up(UUID(spilled.note["attempt_id"]))
        self.spill.remove(spilled.key)
        return True

    def _settle_if_given_up(self, attempt_id: UUID) -> None:
        with self.engine.connect() as connection:
            ticket = attempts.read_ticket(connection, attempt_id)
        images = tuple(self._stored(ticket)) if ticket and ticket.state in _GIVEN_UP else ()
        if images:
            self.settlement.settle(attempt_id, Succeeded(images))

    def _outcome(self, ticket: CallTicket) -> Outcome:
        images = () if ticket.upstream_reference else tuple(self._stored(ticket))
        return Succeeded(images) if images else ProcessDied(_DIED)

    def _stored(self, ticket: CallTicket) -> Iterator[StoredImage]:
        """The images of an attempt that lie in the storage, or can be put there from the spill."""
        name = request_id(ticket.model_id, ticket.parameters["operation"], ticket.job_id)
        for number in range(1, ticket.image_count + 1):
            key = output_key(name, ticket.attempt_id, number, ticket.parameters["output_format"])
            content = self._content(key)
            image = content and self._image(key, content, ticket.parameters["output_format"])
            if image:
                yield image

    def _content(self, key: str) -> bytes | None:
        spilled = self.spill.find(key)
        if spilled:
            self.storage.put(key, spilled.content(), spilled.media_type)
        try:
            return self.storage.get(key)
        except ObjectMissing:
            return None

    def _image(self, key: str, content: bytes, output_format: OutputFormat) -> StoredImage | None:
        try:
            image = check_output(content, output_format)
        except Unavailable:
            log.exception("stored_image_unusable", storage_key=key)
            return None
        return StoredImage(key, image.media_type, image.width, image.height, len(content))
