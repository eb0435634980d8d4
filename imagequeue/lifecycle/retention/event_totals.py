"""Tally: count events into the totals before the retention time takes them away."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from imagequeue.store.jobs import event_totals

AT_ONCE = 50_000
INTERVAL_SECONDS = 10.0
SETTLED_SECONDS = 35.0


@dataclass(frozen=True, slots=True)
class EventTotals:
    """The verb, with what it needs. Events younger than `settled_seconds` are left for a later turn."""

    engine: Engine
    settled_seconds: float = SETTLED_SECONDS
    at_once: int = AT_ONCE

    def run_once(self) -> int:
        """Count everything that is old enough, in steps of one commit each; over how many ids it came."""
        counted = step = self._step()
        while step:
            step = self._step()
            counted += step
        return counted

    def _step(self) -> int:
        with self.engine.connect() as connection:
            before = event_totals.horizon(connection, self.settled_seconds)
        with self.engine.begin() as connection:
            return event_totals.count_on(connection, before, self.at_once)
