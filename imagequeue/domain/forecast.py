"""The forecast: the position and the ETA of every waiting job, computed for all flows at once.

A job's position is the number of calls up to and with its own: those before it in its own flow, and those
that fair queueing (`fairness`) gives to other flows first. Another account of the same weight gets one turn
for each turn of the job's account while it has jobs; a backfill job also waits for all interactive jobs,
except for the grants that `FLOOR` leaves to backfill. The ETA is the time at which the deployments that can
serve the flow have started that many calls (`service_rate`), plus the time that a call takes.

Of the jobs in a flow a sample is known: ids, which grow with time (UUIDv7), and their places. Places between
two of them are interpolated. A job behind the last one was submitted after the sample was taken, and the
number of jobs between the two is unknown.
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
    """Some of the jobs that wait in a flow: their ids, ascending, and the calls up to and with each.

    One deployment may return more images in a call than another. So the number of calls is a mean over the
    deployments that serve the flow, and may be a fraction.
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
    """A job's position, counted in calls from 1, and the seconds until it is done.

    Both are None for a job that was submitted a moment ago; the ETA is None while no deployment serves it.
    """

    position: int | None
    eta_seconds: float | None


UNKNOWN = Estimate(None, None)


@dataclass(frozen=True, slots=True)
class _FlowForecast:
    """The sampled jobs of a flow: their ids as numbers, and the position and ETA (seconds) of each."""

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
    """Positions and ETAs by flow; `encode` and `decode` take them through Redis."""

    forecasts: Mapping[int, _FlowForecast]

    def estimate(self, flow_id: int, job_id: UUID, age: float) -> Estimate:
        """The estimate for a waiting job, `age` seconds after the forecast was made."""
        forecast = self.forecasts.get(flow_id)
        return forecast.estimate(job_id, age) if forecast and forecast.ids else UNKNOWN

    def encode(self) -> str:
        """The forecast as text; ids in hexadecimal digits."""
        return json.dumps(
            {
                flow_id: [[f"{number:x}" for number in one.ids], one.positions, one.etas]
                for flow_id, one in self.forecasts.items()
            },
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, text: str) -> Forecast:
        """Read what `encode` wrote."""
        return cls(
            {
                int(flow_id): _FlowForecast([int(number, 16) for number in ids], positions, etas)
                for flow_id, (ids, positions, etas) in json.loads(text).items()
            }
        )


def forecast(
    samples: Sequence[FlowSample], service: Mapping[int, ServiceRate], rivals: Mapping[int, frozenset[int]]
) -> Forecast:
    """Compute the position and the ETA of every sampled job.

    Args:
        samples: the flows in which jobs wait.
        service: by flow, how the deployments that can serve it start calls.
        rivals: by flow, all flows that some of those deployments can serve, itself included.
    """
    by_id = {sample.flow_id: sample for sample in samples}
    sharing, forecasts = dict[frozenset[int], _SharingFlows](), dict[int, _FlowForecast]()
    for sample in samples:
        flow_ids = rivals[sample.flow_id]
        if flow_ids not in sharing:
            sharing[flow_ids] = _SharingFlows([by_id[id_] for id_ in flow_ids if id_ in by_id])
        calls = [sharing[flow_ids].calls_until(sample, place) for place in sample.places]
        forecasts[sample.flow_id] = _flow_forecast(sample, calls, service[sample.flow_id])
    return Forecast(forecasts)


def _flow_forecast(sample: FlowSample, calls: Sequence[float], service: ServiceRate) -> _FlowForecast:
    """`calls`: for each sampled job, how many calls start until its own does."""
    etas = [service.done_in(place) for place in calls]
    positions = [ceil(round(place, 6)) for place in calls]
    rounded = [None if eta is None else round(eta, 2) for eta in etas]
    return _FlowForecast([one.int for one in sample.ids], positions, rounded)


class _SharingFlows:
    """The flows that share deployments. Built once for all of them; a question then costs a bisection."""

    def __init__(self, samples: Sequence[FlowSample]) -> None:
        self._lanes = {lane: _Accounts([one for one in samples if one.lane is lane]) for lane in Lane}

    def calls_until(self, sample: FlowSample, place: float) -> float:
        """How many calls of all flows there are up to and with the one at this place of a flow."""
        lane = self._lanes[sample.lane]
        of_account = lane.calls[sample.account_id]
        before = place + min(of_account - sample.calls, place)  # its flows take turns
        others = lane.taken(before / sample.weight) - min(of_account, before)
        in_lane = before + floor(round(others, 6))
        if sample.lane is Lane.BACKFILL:
            return in_lane + min(self._lanes[Lane.INTERACTIVE].total, in_lane * (FLOOR - 1))
        return in_lane + min(self._lanes[Lane.BACKFILL].total, in_lane // (FLOOR - 1))


class _Accounts:
    """The accounts of a lane, ordered by the number of turns after which each has no more calls."""

    def __init__(self, samples: Sequence[FlowSample]) -> None:
        self.calls = defaultdict[UUID, float](float)
        weights = dict[UUID, int]()
        for sample in samples:
            self.calls[sample.account_id] += sample.calls
            weights[sample.account_id] = sample.weight
        self.total = sum(self.calls.values())
        by_end = sorted((calls / weights[id_], calls, weights[id_]) for id_, calls in self.calls.items())
        self._ends = [end for end, _, _ in by_end]
        self._ended = list(accumulate((calls for _, calls, _ in by_end), initial=0.0))
        self._weights = list(accumulate((weight for _, _, weight in by_end), initial=0))

    def taken(self, turns: float) -> float:
        """How many calls all accounts have had after so many turns each; a turn is `weight` calls."""
        ended = bisect_right(self._ends, turns)
        return self._ended[ended] + turns * (self._weights[-1] - self._weights[ended])


def _aged(eta: float | None, age: float) -> float | None:
    return None if eta is None else max(0.0, eta - age)
