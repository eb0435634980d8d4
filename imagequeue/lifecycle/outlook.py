"""Outlook: what a waiting job may expect, published in Redis every second, never counted per poll.

The dispatchers take turns: whoever takes the turn's key publishes. Reading a long backlog costs time, so
publishing rests for many times what it took, and what lies far behind in a long flow is counted seldom.
Without Redis there is no outlook, and status bodies say less.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import Flow
from imagequeue.domain.outlook import Estimate, Line, Outlook, Service, foresee
from imagequeue.domain.quota import grant
from imagequeue.lifecycle.backlog import Backlog, Waiting
from imagequeue.lifecycle.room import Room
from imagequeue.lifecycle.serving import Serving
from imagequeue.store import flows, quota
from imagequeue.store.quota import Group

INTERVAL_SECONDS = 1.0
KEY, TURN = "imagequeue:outlook", "imagequeue:outlook-turn"
KEPT_SECONDS = 60
REST = 20
"""Publishing rests so many times what it took."""

JOBS_READ = 20_000
SAMPLES = 200
PLANNED_STARTS = 100
LATENCY_CALLS = 100
DEFAULT_LATENCY = 5.0
TAIL_SECONDS = 10.0


@dataclass(slots=True)
class Publishing:
    """The verb, with what it needs; for one loop of one dispatcher."""

    engine: Engine
    redis: Redis
    serving: Callable[[], Serving]
    backlog: Backlog = field(default_factory=Backlog)
    tails: dict[int, tuple[float, int, UUID]] = field(default_factory=dict[int, tuple[float, int, UUID]])

    def run_once(self) -> int:
        """Publish, if it is this process's turn; 1 if it was."""
        if not self.redis.set(TURN, 1, nx=True, px=int(INTERVAL_SECONDS * 900)):
            return 0
        began = time.monotonic()
        self.redis.set(KEY, self.look().encode(), ex=KEPT_SECONDS)
        rest = (time.monotonic() - began) * REST
        if rest > INTERVAL_SECONDS:
            self.redis.set(TURN, 1, px=int(rest * 1000))
        return 1

    def look(self) -> Outlook:
        """What every waiting job may expect now."""
        serving = self.serving()
        with self.engine.connect() as connection:
            waiting = self.backlog.look(connection)
            if not waiting.queued:
                return Outlook({})
            lines = self._lines(connection, waiting)
            groups = quota.read_groups(connection, list(serving.catalog.quota_groups), PLANNED_STARTS)
            room, latencies = Room.look(connection), flows.call_seconds(connection, LATENCY_CALLS)
        services, rivals = dict[int, Service](), dict[int, frozenset[int]]()
        serves = {flow.id: _deployments(serving, flow, room) for flow in waiting.flows}
        by_group = defaultdict[str, set[int]](set)
        for flow_id, deployments in serves.items():
            for one in deployments:
                by_group[one.group].add(flow_id)
        for line in lines:
            mine = serves[line.flow_id]
            rivals[line.flow_id] = frozenset[int]().union(*(by_group[one.group] for one in mine))
            services[line.flow_id] = _service(mine, groups, latencies, room.slots.get(line.lane, 0))
        return foresee(lines, services, rivals)

    def _lines(self, connection: Connection, waiting: Waiting) -> list[Line]:
        known = [flow for flow in waiting.flows if flow.id in waiting.queued]
        most = max(SAMPLES, JOBS_READ // len(known))
        heads = flows.heads_of_lines(connection, [flow.id for flow in known], most)
        return [self._line(connection, flow, *heads[flow.id], most) for flow in known if flow.id in heads]

    def _line(
        self, connection: Connection, flow: Flow, ids: Sequence[UUID], wanted: Sequence[int], most: int
    ) -> Line:
        places, place = list[int](), 0
        for images in wanted:
            place += images
            places.append(place)
        step = max(1, len(ids) // SAMPLES)
        kept = sorted({*range(0, len(ids), step), len(ids) - 1})
        sampled, sampled_places = [ids[at] for at in kept], [places[at] for at in kept]
        if len(ids) == most:
            calls, last = self._tail(connection, flow.id)
            if last > sampled[-1] and calls > place:
                sampled.append(last)
                sampled_places.append(calls)
        return Line(flow.id, flow.account_id, flow.lane, flow.weight, sampled, sampled_places)

    def _tail(self, connection: Connection, flow_id: int) -> tuple[int, UUID]:
        read_at, calls, last = self.tails.get(flow_id, (float("-inf"), 0, UUID(int=0)))
        if time.monotonic() - read_at > TAIL_SECONDS:
            calls, last = flows.tail_of_line(connection, flow_id)
            self.tails[flow_id] = (time.monotonic(), calls, last)
        return calls, last


def _deployments(serving: Serving, flow: Flow, room: Room) -> list[Deployment]:
    """Those that can serve a flow and whose breaker lets calls through; all of them if none does."""
    able = list(serving.deployments(flow.model_id, flow.requirement))
    return [one for one in able if room.breaker(one) is Breaker.CLOSED] or able


def _service(
    deployments: Sequence[Deployment], groups: Mapping[str, Group], latencies: Mapping[str, float], slots: int
) -> Service:
    mine = {one.group: groups[one.group] for one in deployments if one.group in groups}
    known = [latencies[one.name] for one in deployments if one.name in latencies]
    latency = sum(known) / len(known) if known else DEFAULT_LATENCY
    rate = sum(group.quota.rate for group in mine.values())
    busiest = slots / latency if slots and latency > 0 else rate
    if busiest < rate:  # the workers' slots are fewer than the quota would fill
        return Service([], busiest, latency)
    return Service(_starts(mine.values()), rate, latency)


def _starts(groups: Iterable[Group]) -> list[float]:
    """The next starts of some groups, in seconds from now, as far as each of them is planned."""
    until, starts = float("inf"), list[float]()
    for group in groups:
        planned = grant(group.quota, group.state, PLANNED_STARTS, horizon=group.quota.cycle)
        planned = [start - group.state.now for start in planned]
        until = min(until, planned[-1] if len(planned) == PLANNED_STARTS else group.quota.cycle)
        starts += planned
    return sorted(start for start in starts if start <= until)


@dataclass(slots=True)
class Reading:
    """The outlook as a process of the API knows it: read at most once a second. For one thread at a time."""

    redis: Redis
    outlook: Outlook = field(default_factory=lambda: Outlook({}))
    made_at: float = 0.0
    read_at: float = float("-inf")

    def estimate(self, flow_id: int, job_id: UUID) -> Estimate | None:
        """What a job that waits may expect; None: nothing is known."""
        if time.monotonic() - self.read_at > INTERVAL_SECONDS:
            self._read()
        return self.outlook.estimate(flow_id, job_id, time.monotonic() - self.made_at)

    def _read(self) -> None:
        self.read_at = time.monotonic()
        try:
            text, left = cast("bytes | None", self.redis.get(KEY)), self.redis.pttl(KEY)
        except (RedisError, OSError):
            text, left = None, 0
        self.outlook = Outlook.decode(text.decode()) if text else Outlook({})
        # Its age by the time that Redis will still keep it: no two machines' clocks are compared.
        self.made_at = self.read_at - (KEPT_SECONDS - left / 1000)
