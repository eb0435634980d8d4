"""What the dispatcher remembers of the backlog: flows, which never change, and a cursor for each.

The cursor skips dead rows at the front of a flow. It trails the youngest claimed id by `TRAIL_SECONDS`,
because a transaction with a smaller id may commit later; and it is dropped every `FORGET_SECONDS`, so that
nothing depends on it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.fairness import Flow
from imagequeue.domain.ids import uuid7_floor
from imagequeue.domain.jobs import Lane
from imagequeue.store import flows
from imagequeue.store.claims import WaitingJob

TRAIL_SECONDS = 60.0
FORGET_SECONDS = 60.0
_START = UUID(int=0)


@dataclass(frozen=True)
class Waiting:
    """The flows in which jobs wait: for their first attempt (`queued`), or for another one (`wanting`)."""

    flows: Sequence[Flow] = ()
    queued: frozenset[int] = frozenset()
    wanting: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.flows)

    @cached_property
    def classes(self) -> Mapping[tuple[str, str, Lane], Sequence[Flow]]:
        """The flows by model, requirement and lane: the same deployments can serve all of a class."""
        classes = defaultdict[tuple[str, str, Lane], list[Flow]](list)
        for flow in self.flows:
            classes[flow.model_id, flow.requirement, flow.lane].append(flow)
        return classes

    def also_wanting(self, flow_ids: set[int]) -> Waiting:
        """The same, where jobs of more flows want another attempt: they were begun in this turn."""
        return replace(self, wanting=self.wanting | flow_ids) if flow_ids - self.wanting else self


@dataclass(slots=True)
class Backlog:
    """One dispatcher's memory."""

    known: dict[int, Flow] = field(default_factory=dict[int, Flow])
    cursors: dict[int, UUID] = field(default_factory=dict[int, UUID])
    forget_at: float = 0.0

    def look(self, connection: Connection) -> Waiting:
        """Find the flows in which jobs wait now."""
        queued = flows.queued_flows(connection)
        wanting = flows.wanting_flows(connection)
        self._learn(connection, queued | wanting)
        if time.monotonic() >= self.forget_at:
            self.cursors.clear()
            self.forget_at = time.monotonic() + FORGET_SECONDS
        found = [self.known[id_] for id_ in sorted(queued | wanting)]
        return Waiting(found, frozenset(queued), frozenset(wanting))

    def cursor(self, flow_id: int) -> UUID:
        """Queued jobs of the flow have ids above this."""
        return self.cursors.get(flow_id, _START)

    def claimed(self, jobs: Sequence[WaitingJob]) -> None:
        """Move the cursors behind jobs whose claim is committed."""
        ceiling = uuid7_floor(datetime.now(UTC) - timedelta(seconds=TRAIL_SECONDS))
        for job in jobs:
            self.cursors[job.flow_id] = max(self.cursor(job.flow_id), min(job.id, ceiling))

    def _learn(self, connection: Connection, ids: set[int]) -> None:
        new = sorted(ids - self.known.keys())
        if new:
            self.known |= {flow.id: flow for flow in flows.load_flows(connection, new)}
