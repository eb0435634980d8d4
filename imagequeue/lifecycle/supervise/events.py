"""The events of a batch: what its webhook and the endpoints of its account are told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from imagequeue.domain.batches import BatchState, PauseReason
from imagequeue.domain.ids import batch_name
from imagequeue.domain.webhooks import DEFAULT_SCHEDULE
from imagequeue.lifecycle.deliver.batch_events import BatchEvent, write_batch_event
from imagequeue.store.batches.control import BatchRow


@dataclass(frozen=True, slots=True)
class BatchEvents:
    """Writes events into the outbox, in the transaction that changes the batch; `schedule` in seconds."""

    schedule: Sequence[float] = DEFAULT_SCHEDULE

    def paused(self, connection: Connection, batch: BatchRow, reasons: Iterable[PauseReason]) -> None:
        """One event for each reason that begins."""
        for reason in sorted(reasons):
            self._write(connection, batch, "batch.paused", batch.state, reason=reason.value)

    def ended(self, connection: Connection, batch: BatchRow, state: BatchState) -> None:
        """The batch is completed, cancelled or expired."""
        self._write(connection, batch, f"batch.{state}", state)

    def _write(
        self, connection: Connection, batch: BatchRow, event_type: str, state: BatchState, **more: str
    ) -> None:
        counts = {name: batch.counts[name] for name in sorted(batch.counts)}
        told = {"id": batch_name(batch.id), "object": "batch", "status": state.value, **more}
        data = json.dumps(told | {"counts": counts}, separators=(",", ":"))
        event = BatchEvent(batch.account_id, batch.id, event_type, data, batch.now, batch.webhook_url)
        write_batch_event(connection, event, self.schedule)
