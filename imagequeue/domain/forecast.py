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
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, floor
from uuid import UUID

from imagequeue.domain.fairness import FLOOR
from imagequeue.domain.jobs import Lane
from imagequeue.domain.service_rate import ServiceRate


@dataclass(frozen=True, slots=True)
class FlowSample:
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
class _FlowForecast:
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
class Forecast:
    """What is expected for every waiting job; `encode` and `decode` take it through Redis."""

    forecasts: Mapping[int, _FlowForecast]

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
    def decode(cls, text: str) -> Forecast:
        """From what `encode` wrote."""
        return cls(
            {
                int(flow_id): _FlowForecast([int(number, 16) for number in ids], positions, etas)
                for flow_id, (ids, positions, etas) in json.loads(text).items()
            }
        )


def forecast(
    lines: Sequence[FlowSample], service: Mapping[int, ServiceRate], rivals: Mapping[int, frozenset[int]]
) -> Forecast:
    """Work out what is expected for the samples of every line.

    Args:
        lines: the flows in which jobs wait.
        service: by flow, how the deployments that can serve it start calls.
        rivals: by flow, all flows that some of those deployments can serve, itself among them.
    """
    by_id = {line.flow_id: line for line in lines}
    crowds, forecasts = dict[frozenset[int], _Crowd](), dict[int, _FlowForecast]()
    for line in lines:
        sharing = rivals[line.flow_id]
        if sharing not in crowds:
            crowds[sharing] = _Crowd([by_id[id_] for id_ in sharing if id_ in by_id])
        calls = [crowds[sharing].calls_until(line, place) for place in line.places]
        etas = [service[line.flow_id].done_in(place) for place in calls]
        positions = [ceil(round(place, 6)) for place in calls]
        rounded = [None if eta is None else round(eta, 2) for eta in etas]
        forecasts[line.flow_id] = _FlowForecast([one.int for one in line.ids], positions, rounded)
    return Forecast(forecasts)


class _Crowd:
    """The lines that share deployments. Made once for all of them: what is asked of it costs a bisection."""

    def __init__(self, lines: Sequence[FlowSample]) -> None:
        self._lanes = {lane: _Accounts([line for line in lines if line.lane is lane]) for lane in Lane}

    def calls_until(self, line: FlowSample, place: float) -> float:
        """How many calls there are up to and with the one at this place of a line."""
        lane = self._lanes[line.lane]
        own = lane.calls[line.account_id]
        mine = place + min(own - line.calls, place)
        others = lane.taken(mine / line.weight) - min(own, mine)
        in_lane = mine + floor(round(others, 6))
        if line.lane is Lane.BACKFILL:
            return in_lane + min(self._lanes[Lane.INTERACTIVE].total, in_lane * (FLOOR - 1))
        return in_lane + min(self._lanes[Lane.BACKFILL].total, in_lane // (FLOOR - 1))


class _Accounts:
    """The accounts of a lane, by the number of turns after which each has no more calls."""

    def __init__(self, lines: Sequence[FlowSample]) -> None:
        self.calls = defaultdict[UUID, float](float)
        weights = dict[UUID, int]()
        for line in lines:
            self.calls[line.account_id] += line.calls
            weights[line.account_id] = line.weight
        self.total = sum(self.calls.values())
        by_end = sorted((calls / weights[id_], calls, weights[id_]) for id_, calls in self.calls.items())
        self._ends = [end for end, _, _ in by_end]
        self._ended = list(accumulate((calls for _, calls, _ in by_end), initial=0.0))
        self._weights = list(accumulate((weight for _, _, weight in by_end), initial=0))

    def taken(self, turns: float) -> float:
        """How many calls all accounts have had when each had so many turns: a turn is a call for a weight."""
        ended = bisect_right(self._ends, turns)
        return self._ended[ended] + turns * (self._weights[-1] - self._weights[ended])


def _aged(eta: float | None, age: float) -> float | None:
    return None if eta is None else max(0.0, eta - age)
