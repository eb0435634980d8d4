"""Outlook: what a waiting job may expect, published in Redis every second, never counted per poll.

The dispatchers take turns: whoever takes the turn's key publishes. Reading a long backlog costs time, so
publishing rests for many times what it took. Without Redis there is no outlook, and status bodies know
neither position nor time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from imagequeue.domain.forecast import Estimate, Forecast, forecast
from imagequeue.domain.service_rate import ServiceRate
from imagequeue.lifecycle.dispatch.backlog import Backlog, Waiting
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta.capacity import Capacity
from imagequeue.lifecycle.eta.queue_sample import QueueSample

INTERVAL_SECONDS = 1.0
KEY, LEASE_KEY = "imagequeue:outlook", "imagequeue:outlook-turn"
KEPT_SECONDS = 60
COOLDOWN_FACTOR = 20
"""Publishing rests so many times what it took."""


@dataclass(slots=True)
class ForecastPublisher:
    """The verb, with what it needs; for one loop of one dispatcher."""

    engine: Engine
    redis: Redis
    eligibility: Callable[[], Eligibility]
    backlog: Backlog = field(default_factory=Backlog)
    queue_sample: QueueSample = field(default_factory=QueueSample)

    def run_once(self) -> int:
        """Publish, if it is this process's turn; 1 if it was."""
        if not self.redis.set(LEASE_KEY, 1, nx=True, px=int(INTERVAL_SECONDS * 900)):
            return 0
        began = time.monotonic()
        text = self.look().encode()
        took = time.monotonic() - began
        self.redis.set(KEY, text, px=max(1, int((KEPT_SECONDS - took) * 1000)))
        rest = took * COOLDOWN_FACTOR
        if rest > INTERVAL_SECONDS:
            self.redis.set(LEASE_KEY, 1, px=int(rest * 1000))
        return 1

    def look(self) -> Forecast:
        """What every waiting job may expect now."""
        eligibility = self.eligibility()
        with self.engine.connect() as connection:
            waiting = self.backlog.look(connection)
            if not waiting:
                return Forecast({})
            capacity = Capacity.read(connection, eligibility)
            lines = self.queue_sample.look(connection, waiting.flows, capacity.calls_of)
        services, rivals = dict[int, ServiceRate](), dict[int, frozenset[int]]()
        by_group = _flows_by_group(waiting, capacity)
        for (model_id, requirement, lane), flows in waiting.classes.items():
            groups = {one.group for one in capacity.deployments(model_id, requirement)}
            sharing = frozenset[int]().union(*(by_group[group] for group in groups))
            services |= dict.fromkeys(
                (flow.id for flow in flows), capacity.service(model_id, requirement, lane)
            )
            rivals |= dict.fromkeys((flow.id for flow in flows), sharing)
        return forecast(lines, services, rivals)


def _flows_by_group(waiting: Waiting, capacity: Capacity) -> Mapping[str, set[int]]:
    """The flows that each quota group serves."""
    by_group = defaultdict[str, set[int]](set)
    for (model_id, requirement, _), flows in waiting.classes.items():
        for one in capacity.deployments(model_id, requirement):
            by_group[one.group].update(flow.id for flow in flows)
    return by_group


@dataclass(slots=True)
class ForecastReader:
    """The outlook as a process of the API knows it: read at most once a second. For one thread at a time."""

    redis: Redis
    forecast: Forecast = field(default_factory=lambda: Forecast({}))
    made_at: float = 0.0
    read_at: float = float("-inf")

    def estimate(self, flow_id: int, job_id: UUID) -> Estimate:
        """What a job that waits may expect, as far as it is known."""
        if time.monotonic() - self.read_at > INTERVAL_SECONDS:
            self._read()
        return self.forecast.estimate(flow_id, job_id, time.monotonic() - self.made_at)

    def _read(self) -> None:
        self.read_at = time.monotonic()
        try:
            text, left = cast("bytes | None", self.redis.get(KEY)), self.redis.pttl(KEY)
        except (RedisError, OSError):
            text, left = None, 0
        self.forecast = Forecast.decode(text.decode()) if text else Forecast({})
        # Its age by the time that Redis will still keep it: no two machines' clocks are compared.
        self.made_at = self.read_at - (KEPT_SECONDS - left / 1000)
