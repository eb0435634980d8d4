"""When will a waiting job be served? Positions and times for every flow, worked out for all jobs at once.

A job's position is the number of calls that go before its own and itself: those of its own flow, and of
the others as many as fair queueing lets go first (`fairness`): an account with the same weight gets a turn
for each of ours while it has jobs, and a backfill waits for all interactive jobs but for the floor's share.
The time is when the deployments that can serve the flow start that many calls (`service`), and then the
time that a call takes.

A flow's waiting jobs are known by their ids, which grow (UUIDv7): a sample of them with their places in the
line. Between two samples places are interpolated. Of a job behind the last one, which came later than the
outlook was made, nothing is known: how many came between is anybody's guess.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from uuid import UUID

from imagequeue.domain.fairness import FLOOR
from imagequeue.domain.jobs import Lane
from imagequeue.domain.service import Service


@dataclass(frozen=True, slots=True)
class Line:
    """The jobs that wait in a flow: some of their ids, ascending, with the calls up to and with each.

    A call of one deployment may bring more images than a call of another, so calls may be fractions: how many
    it takes at the rates of those that share the line.
    """

    flow_id: int
    account_id: UUID
    lane: Lane
    weight: int
    ids: Sequence[UUID]
    places: Sequence[float]

    @property
    def calls(self) -> float:
        """All calls that wait in the flow."""
        return self.places[-1] if self.places else 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Where a job stands in the line of its flow's deployments, and the seconds until it is done.

    None is what nobody knows: a job that came a moment ago, or deployments that serve nothing for now.
    """

    position: int | None
    eta_seconds: float | None


UNKNOWN = Estimate(None, None)


@dataclass(frozen=True, slots=True)
class _Forecast:
    """A flow's samples: ids as numbers, and what is expected for each."""

    ids: Sequence[int]
    positions: Sequence[int]
    etas: Sequence[float | None]

    def estimate(self, job_id: UUID, age: float) -> Estimate:
        at = bisect_right(self.ids, job_id.int) - 1
        if at < 0:
            return Estimate(1, _aged(self.etas[0], age))
        if at + 1 >= len(self.ids):
            known = job_id.int == self.ids[at]
            return Estimate(self.positions[at], _aged(self.etas[at], age)) if known else UNKNOWN
        share = (job_id.int - self.ids[at]) / (self.ids[at + 1] - self.ids[at])
        position = self.positions[at] + share * (self.positions[at + 1] - self.positions[at])
        before, after = self.etas[at], self.etas[at + 1]
        eta = None if before is None or after is None else before + share * (after - before)
        return Estimate(round(position), _aged(eta, age))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected for every waiting job; `encode` and `decode` take it through Redis."""

    forecasts: Mapping[int, _Forecast]

    def estimate(self, flow_id: int, job_id: UUID, age: float) -> Estimate:
        """What is expected for a job that waits, `age` seconds after the outlook was made."""
        forecast = self.forecasts.get(flow_id)
        return forecast.estimate(job_id, age) if forecast and forecast.ids else UNKNOWN

    def encode(self) -> str:
        """As text."""
        return json.dumps(
            {
                flow_id: [[f"{number:x}" for number in one.ids], one.positions, one.etas]
                for flow_id, one in self.forecasts.items()
            },
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, text: str) -> Outlook:
        """From what `encode` wrote."""
        return cls(
            {
                int(flow_id): _Forecast([int(number, 16) for number in ids], positions, etas)
                for flow_id, (ids, positions, etas) in json.loads(text).items()
            }
        )


def foresee(
    lines: Sequence[Line], service: Mapping[int, Service], rivals: Mapping[int, frozenset[int]]
) -> Outlook:
    """Work out what is expected for the samples of every line.

    Args:
        lines: the flows in which jobs wait.
        service: by flow, how the deployments that can serve it start calls.
        rivals: by flow, the flows that some of those deployments can serve as well.
    """
    by_id = {line.flow_id: line for line in lines}
    forecasts = dict[int, _Forecast]()
    for line in lines:
        others = [by_id[id_] for id_ in rivals[line.flow_id] if id_ != line.flow_id and id_ in by_id]
        crowd = _Crowd.around(line, others)
        calls = [crowd.calls_until(place) for place in line.places]
        etas = [service[line.flow_id].done_in(place) for place in calls]
        positions = [ceil(round(place, 6)) for place in calls]
        rounded = [None if eta is None else round(eta, 2) for eta in etas]
        forecasts[line.flow_id] = _Forecast([one.int for one in line.ids], positions, rounded)
    return Outlook(forecasts)


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Who shares the deployments with a line."""

    line: Line
    peers: Sequence[tuple[float, float]]  # of the other accounts in its lane: turns for each of ours, calls
    own: float  # calls of the account's other flows in the lane
    other_lane: float

    @classmethod
    def around(cls, line: Line, others: Sequence[Line]) -> _Crowd:
        peers = dict[UUID, tuple[float, float]]()
        own = other_lane = 0.0
        for other in others:
            if other.lane is not line.lane:
                other_lane += other.calls
            elif other.account_id == line.account_id:
                own += other.calls
            else:
                _, calls = peers.get(other.account_id, (0.0, 0.0))
                peers[other.account_id] = (other.weight / line.weight, calls + other.calls)
        return cls(line, list(peers.values()), own, other_lane)

    def calls_until(self, place: float) -> float:
        """How many calls there are up to and with the one at this place of the line."""
        mine = place + min(self.own, place)
        in_lane = mine + sum(min(calls, int(mine * turns)) for turns, calls in self.peers)
        if self.line.lane is Lane.BACKFILL:
            return in_lane + min(self.other_lane, in_lane * (FLOOR - 1))
        return in_lane + min(self.other_lane, in_lane // (FLOOR - 1))


def _aged(eta: float | None, age: float) -> float | None:
    return None if eta is None else max(0.0, eta - age)
