"""Why a batch is paused: reasons that begin are told once, and those that close its flows close them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection, Engine

from imagequeue.domain.batch_progress import state_for
from imagequeue.domain.batches import OPEN_BATCHES, RESUMED_BY_HAND, PauseReason
from imagequeue.lifecycle.supervise.events import BatchEvents
from imagequeue.store.batches import control
from imagequeue.store.batches.control import BatchRow
from imagequeue.store.jobs.flows import follow_batch


@dataclass(frozen=True, slots=True)
class Reasons:
    """Sets the reasons of batches."""

    engine: Engine
    events: BatchEvents

    def record(self, batch_id: UUID, lacking: Collection[PauseReason]) -> None:
        """Say what the next lines of a batch lack; an empty set: they wait for nothing."""
        with self.engine.begin() as connection:
            batch = control.lock_batch(connection, batch_id)
            if batch is not None and batch.state in OPEN_BATCHES:
                self.set(connection, batch, (batch.reasons & RESUMED_BY_HAND) | set(lacking))

    def set(self, connection: Connection, batch: BatchRow, reasons: frozenset[PauseReason]) -> None:
        """Give a locked batch its reasons, and the state that they mean.

        Lock order: the batch, its flows. From the commit on no call begins where a reason closes the flows.
        """
        state = state_for(reasons, batch.counts["queued"])
        if (state, reasons) == (batch.state, batch.reasons):
            return
        control.set_reasons(connection, batch.id, state, reasons)
        if (reasons ^ batch.reasons) & RESUMED_BY_HAND:
            follow_batch(connection, batch.id)
        self.events.paused(connection, replace(batch, state=state), reasons - batch.reasons)
