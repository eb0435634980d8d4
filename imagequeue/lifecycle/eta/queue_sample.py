"""Queue sample: some of the jobs that wait in each flow, with the number of calls that go before each.

The front of a flow is read job by job. Of a long flow the end is known too: its last job, and a count of its
jobs that is made at most every 10 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.fairness import Flow
from imagequeue.domain.forecast import FlowSample
from imagequeue.store.jobs import flows

JOBS_READ = 20_000
"""Jobs that one forecast reads, over all flows, so that it costs the same however many wait."""

SAMPLES = 200
"""Jobs of one flow that the forecast has; those between them are interpolated."""

COUNTED_EVERY = 10.0
"""Seconds between two counts of a long flow, because a count reads all of it."""

Calls = Callable[[Flow, int], float]
"""How many calls a job of a flow takes, from its number of missing images."""


@dataclass(slots=True)
class QueueSample:
    """One publisher's memory of long flows: when each was counted, and its jobs by their missing images."""

    counts: dict[int, tuple[float, Mapping[int, int]]] = field(
        default_factory=dict[int, tuple[float, Mapping[int, int]]]
    )

    def read(self, connection: Connection, waiting: Sequence[Flow], calls: Calls) -> list[FlowSample]:
        """A sample of each flow in which jobs wait now."""
        most = max(SAMPLES, JOBS_READ // max(1, len(waiting)))
        heads = flows.first_waiting(connection, [flow.id for flow in waiting], most)
        long = [flow_id for flow_id, (ids, _) in heads.items() if len(ids) == most]
        last = flows.last_queued(connection, long) if long else {}
        self.counts = {id_: self.counts[id_] for id_ in long if id_ in self.counts}
        return [
            self._sample(connection, flow, *heads[flow.id], last.get(flow.id), calls)
            for flow in waiting
            if flow.id in heads
        ]

    def _sample(  # noqa: PLR0913, PLR0917  # a flow's row of the reading
        self,
        connection: Connection,
        flow: Flow,
        ids: Sequence[UUID],
        missing_images: Sequence[int],
        last: UUID | None,
        calls: Calls,
    ) -> FlowSample:
        each = {images: calls(flow, images) for images in set(missing_images)}
        places = list(accumulate(each[images] for images in missing_images))
        step = max(1, len(ids) // SAMPLES)
        kept = sorted({*range(0, len(ids), step), len(ids) - 1})
        sampled, sampled_places = [ids[at] for at in kept], [places[at] for at in kept]
        if last is not None and last > sampled[-1]:
            counted = self._count(connection, flow.id).items()
            sampled.append(last)
            sampled_places.append(
                max(places[-1], sum(jobs * calls(flow, images) for images, jobs in counted))
            )
        return FlowSample(flow.id, flow.account_id, flow.lane, flow.weight, sampled, sampled_places)

    def _count(self, connection: Connection, flow_id: int) -> Mapping[int, int]:
        read_at, counted = self.counts.get(flow_id, (float("-inf"), {}))
        if time.monotonic() - read_at > COUNTED_EVERY:
            counted = flows.count_by_missing_images(connection, flow_id)
            self.counts[flow_id] = (time.monotonic(), counted)
        return counted
