"""Rescue: settle an attempt whose process died while it made the call.

What is known of the call decides, in this order (docs/design/pipeline.md, "A call in doubt"). If its upstream
has told a reference, the attempt sleeps and is polled. If images of the attempt lie in the storage, or in the
spill of this machine, they are its result. Otherwise the outcome is `ProcessDied`, and its verdict says
whether the upstream may still call back or the call is made again.

A spilled image may belong to an attempt that a live process is working on. It is stored all the same, which
is harmless, but only that process, or the rescue of an orphan, settles the attempt.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.ids import request_id
from imagequeue.domain.upstream import Unavailable
from imagequeue.domain.verdicts import AttemptOutcome, ProcessDied, StoredImage, Succeeded
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.sweep.overdue import LOCK_SECONDS
from imagequeue.media.images import check_stored
from imagequeue.media.keys import output_key
from imagequeue.media.spill import Spill, SpilledObject, SpillUnavailable
from imagequeue.media.storage import KeyConflict, ObjectMissing, Storage, StorageUnavailable
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import CallTicket, Orphan
from imagequeue.store.database import TooSlow

log = structlog.get_logger()

UNSPILL_SECONDS = 10.0
"""After so long no further spilled object is stored in one step, because orphans wait for the same loop."""

_DIED = "the process that made the call died"
_GIVEN_UP = ("UNKNOWN", "LOST")


@dataclass(frozen=True, slots=True)
class Rescue:
    """Settles orphans, and stores what was spilled on this machine."""

    engine: Engine
    storage: Storage
    spill: Spill
    settlement: Settlement
    clock: Callable[[], float] = time.monotonic

    def rescue(self, orphan: Orphan) -> None:
        """Settle an attempt whose process is dead.

        Raises:
            StorageUnavailable: its images cannot be looked for now; the sweep tries again.
        """
        with self.engine.begin() as connection:
            ticket = calls.read_ticket(connection, orphan.attempt_id)
        outcome = self._outcome(ticket) if ticket else ProcessDied(_DIED)
        log.warning(
            "attempt_rescued",
            attempt_id=str(orphan.attempt_id),
            process_id=str(orphan.process_id),
            outcome=type(outcome).__name__,
        )
        self.settlement.settle(orphan.attempt_id, outcome, lock_seconds=LOCK_SECONDS)

    def unspill(self) -> int:
        """Store what was spilled on this machine, and settle attempts that were given up; how many objects.

        It ends after `UNSPILL_SECONDS`, whatever is left: the rescue of an orphan looks into the spill by
        itself. A file that cannot be used does not stop the others.

        Raises:
            StorageUnavailable: the storage, or the spill, is still away; the files stay where they are.
        """
        until, count = self.clock() + UNSPILL_SECONDS, 0
        for spilled in self.spill.pending():
            if self.clock() > until:
                break
            count += self._store_alone(spilled)
        return count

    def _store_alone(self, spilled: SpilledObject) -> bool:
        try:
            self._store(spilled)
        except SpillUnavailable as error:  # this file, not the storage
            log.warning("spilled_object_unreadable", storage_key=spilled.key, reason=str(error))
        except TooSlow:  # a row of one account is locked
            log.warning("unspill_postponed", storage_key=spilled.key)
        except (StorageUnavailable, SQLAlchemyError):
            raise
        except (KeyConflict, KeyError, ValueError):  # a fault of ours, which no repetition cures
            log.exception("spilled_object_unusable", storage_key=spilled.key)
            self.spill.set_aside(spilled.path)
        except Exception:
            log.exception("unspill_failed", storage_key=spilled.key)
        else:
            return True
        return False

    def _store(self, spilled: SpilledObject) -> None:
        self.storage.put(spilled.key, spilled.content(), spilled.media_type)
        self._settle_if_given_up(UUID(spilled.note["attempt_id"]))
        self.spill.remove(spilled.key)

    def _settle_if_given_up(self, attempt_id: UUID) -> None:
        with self.engine.begin() as connection:
            ticket = calls.read_ticket(connection, attempt_id)
        images = tuple(self._stored(ticket)) if ticket and ticket.state in _GIVEN_UP else ()
        if images:
            self.settlement.settle(attempt_id, Succeeded(images), lock_seconds=LOCK_SECONDS)

    def _outcome(self, ticket: CallTicket) -> AttemptOutcome:
        images = () if ticket.upstream_reference else tuple(self._stored(ticket))
        return Succeeded(images) if images else ProcessDied(_DIED)

    def _stored(self, ticket: CallTicket) -> Iterator[StoredImage]:
        """The images of an attempt that lie in the storage, or can be put there from the spill."""
        name = request_id(ticket.model_id, ticket.parameters["operation"], ticket.job_id)
        for number in range(1, ticket.image_count + 1):
            key = output_key(name, ticket.attempt_id, number, ticket.parameters["output_format"])
            content = self._content(key)
            image = content and self._image(key, content)
            if image:
                yield image

    def _content(self, key: str) -> bytes | None:
        spilled = self.spill.find(key)
        if spilled:
            with contextlib.suppress(KeyConflict):  # another image of the same answer was stored before
                self.storage.put(key, spilled.content(), spilled.media_type)
        try:
            return self.storage.get(key)
        except ObjectMissing:
            return None

    def _image(self, key: str, content: bytes) -> StoredImage | None:
        try:
            image = check_stored(content)
        except Unavailable:
            log.exception("stored_image_unusable", storage_key=key)
            return None
        return StoredImage.of(key, image.media_type, (image.width, image.height), content)
