"""Event totals: count events by status before the retention deletes them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from imagequeue.store.jobs import event_totals

AT_ONCE = 50_000
"""Ids of events that one transaction covers, so that it stays short."""

INTERVAL_SECONDS = 10.0
SETTLED_SECONDS = 35.0
"""Longer than a statement of ours, or an idle transaction, may last (30 s): what is older is committed."""


@dataclass(frozen=True, slots=True)
class EventTotals:
    """Counts events. Those younger than `settled_seconds` are left for a later run."""

    engine: Engine
    settled_seconds: float = SETTLED_SECONDS
    at_once: int = AT_ONCE

    def run_once(self) -> int:
        """Count the events that are old enough, in steps of one commit each; how many ids they cover."""
        counted = step = self._step()
        while step:
            step = self._step()
            counted += step
        return counted

    def _step(self) -> int:
        with self.engine.begin() as connection:
            before = event_totals.horizon(connection, self.settled_seconds)
        with self.engine.begin() as connection:
            return event_totals.count_on(connection, before, self.at_once)
