"""Backlog: the flows in which jobs wait, and a cursor for each, as one dispatcher remembers them.

While some transaction stays open for long, dead rows cannot be vacuumed, and a backfill leaves one for each
job at the front of its flow: 100,000 of them cost 27 ms each time that a claim steps over them
(docs/design/pipeline.md, "Tables"). A cursor skips them for the claim; in the flows that have most of them it
skips them for the search for waiting flows, too.

A cursor trails the youngest claimed id by `TRAIL_SECONDS`, because a transaction with a smaller id may commit
later. It never hides a job for long: every `WHOLE_SECONDS` a search goes without cursors, and a claim that
finds a job below a cursor moves it back.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from heapq import nlargest
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.fairness import Flow
from imagequeue.domain.ids import uuid7_floor
from imagequeue.domain.jobs import Lane
from imagequeue.store.jobs import flows
from imagequeue.store.jobs.claims import WaitingJob

TRAIL_SECONDS = 60.0
WHOLE_SECONDS = 60.0
MANY_CLAIMS = 1_000
MOST_SKIPPED = 16
"""So many flows, of backfills or with so many claims, have their cursors used for the look as well."""

_MOST_KNOWN = 50_000
_START = UUID(int=0)


@dataclass(frozen=True)
class Waiting:
    """The open flows in which jobs wait: for the first attempt (`queued`), or for another (`incomplete`)."""

    flows: Sequence[Flow] = ()
    queued: frozenset[int] = frozenset()
    incomplete: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.flows)

    @cached_property
    def classes(self) -> Mapping[tuple[str, str, Lane], Sequence[Flow]]:
        """The flows by model, requirement and lane: the same deployments can serve all of a class."""
        classes = defaultdict[tuple[str, str, Lane], list[Flow]](list)
        for flow in self.flows:
            classes[flow.model_id, flow.requirement, flow.lane].append(flow)
        return classes

    def after_claim(self, begun: set[int], empty: set[int]) -> Waiting:
        """The same when jobs of some flows were begun and need more, and others have no queued job left."""
        queued, incomplete = self.queued - empty, self.incomplete | begun
        flows = [flow for flow in self.flows if flow.id in queued or flow.id in incomplete]
        return Waiting(flows, queued, incomplete)


@dataclass(slots=True)
class Backlog:
    """One dispatcher's memory of the flows. `clock` gives monotonic seconds."""

    known: dict[int, Flow] = field(default_factory=dict[int, Flow])
    cursors: dict[int, UUID] = field(default_factory=dict[int, UUID])
    claims: Counter[int] = field(default_factory=Counter[int])
    clock: Callable[[], float] = time.monotonic
    whole: bool = True
    whole_at: float = float("-inf")

    def look(self, connection: Connection) -> Waiting:
        """Find the flows in which jobs wait now, but for those that a batch has closed."""
        self._begin_look()
        queued, incomplete = flows.waiting_flows(connection, self._skipped())
        if self.whole:
            self._forget_all_but(queued | incomplete)
        self._learn(connection, queued | incomplete)
        found = list(_open(connection, [self.known[id_] for id_ in sorted(queued | incomplete)]))
        ids = {flow.id for flow in found}
        return Waiting(found, frozenset(queued & ids), frozenset(incomplete & ids))

    def cursor(self, flow_id: int) -> UUID:
        """Queued jobs of the flow have ids above this; in a look without cursors, above nothing."""
        return _START if self.whole else self.cursors.get(flow_id, _START)

    def claimed(self, jobs: Sequence[WaitingJob]) -> None:
        """Move the cursors behind jobs whose claim is committed: they were the first of their flows."""
        ceiling = uuid7_floor(datetime.now(UTC) - timedelta(seconds=TRAIL_SECONDS))
        last = dict[int, UUID]()
        for job in jobs:
            last[job.flow_id] = max(last.get(job.flow_id, _START), job.id)
            self.claims[job.flow_id] += 1
        self.cursors |= {flow_id: min(id_, ceiling) for flow_id, id_ in last.items()}

    def _begin_look(self) -> None:
        now = self.clock()
        self.whole = now >= self.whole_at
        if self.whole:
            self.whole_at = now + WHOLE_SECONDS

    def _skipped(self) -> dict[int, UUID]:
        if self.whole:
            return {}
        many = [
            id_
            for id_, count in self.claims.items()
            if count >= MANY_CLAIMS or self.known[id_].lane is Lane.BACKFILL
        ]
        return {id_: self.cursors[id_] for id_ in nlargest(MOST_SKIPPED, many, self.claims.__getitem__)}

    def _forget_all_but(self, waiting: set[int]) -> None:
        self.cursors = {id_: cursor for id_, cursor in self.cursors.items() if id_ in waiting}
        self.claims = Counter({id_: count for id_, count in self.claims.items() if id_ in waiting})
        if len(self.known) > _MOST_KNOWN:
            self.known = {id_: flow for id_, flow in self.known.items() if id_ in waiting}

    def _learn(self, connection: Connection, ids: set[int]) -> None:
        new = sorted(ids - self.known.keys())
        if new:
            self.known |= {flow.id: flow for flow in flows.load_flows(connection, new)}


def _open(connection: Connection, found: Sequence[Flow]) -> Iterator[Flow]:
    """Those whose jobs may be called for, with the weights of their batches: both may change at any time."""
    of_batches = [flow.id for flow in found if flow.batch_id is not None]
    weights = flows.open_weights(connection, of_batches) if of_batches else {}
    for flow in found:
        if flow.batch_id is None:
            yield flow
        elif flow.id in weights:
            yield replace(flow, batch_weight=weights[flow.id])
