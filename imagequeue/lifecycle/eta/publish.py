"""Publish: a dispatcher writes the forecast of all waiting jobs to Redis, an API process reads it there.

So a status that is polled costs no counting. One dispatcher at a time publishes: the one that gets the lease
in Redis. Reading a long backlog costs database time, so after publishing there is a cooldown of many times
what it took. Without Redis there is no forecast, and position and ETA are null.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import Engine

from imagequeue.domain.forecast import Estimate, Forecast, forecast
from imagequeue.domain.service_rate import ServiceRate
from imagequeue.lifecycle.dispatch.backlog import Backlog, Waiting
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta.capacity import Capacity
from imagequeue.lifecycle.eta.queue_sample import QueueSample
from imagequeue.redis_server.client import PrefixedRedis
from imagequeue.store.database import separate_statements

INTERVAL_SECONDS = 1.0
KEY, LEASE_KEY = "imagequeue:outlook", "imagequeue:outlook-turn"
KEPT_SECONDS = 60
"""How long Redis keeps a forecast; an older one would be wrong by too much."""

COOLDOWN_FACTOR = 20
"""The cooldown is so many times what publishing took: it uses at most 5 % of one connection's time."""


@dataclass(slots=True)
class ForecastPublisher:
    """Publishes the forecast; for one loop of one dispatcher.

    `may_wait`: whether jobs may wait, as the dispatcher knows it from its last look, which is a second old at
    most. While none does, the empty forecast that was published last stays, also after Redis has dropped it:
    none is an empty one.
    """

    engine: Engine
    redis: PrefixedRedis
    eligibility: Callable[[], Eligibility]
    may_wait: Callable[[], bool] = lambda: True
    is_empty: bool = False
    backlog: Backlog = field(default_factory=Backlog)
    queue_sample: QueueSample = field(default_factory=QueueSample)

    def run_once(self) -> int:
        """Publish, if this process gets the lease; 1 if it did."""
        if self.is_empty and not self.may_wait():
            return 0
        if not self.redis.set(self.redis.key(LEASE_KEY), 1, nx=True, px=int(INTERVAL_SECONDS * 900)):
            return 0
        began = time.monotonic()
        made = self.forecast()
        text, self.is_empty = made.encode(), not made.forecasts
        took = time.monotonic() - began
        self.redis.set(self.redis.key(KEY), text, px=max(1, int((KEPT_SECONDS - took) * 1000)))
        cooldown = took * COOLDOWN_FACTOR
        if cooldown > INTERVAL_SECONDS:
            self.redis.set(self.redis.key(LEASE_KEY), 1, px=int(cooldown * 1000))
        return 1

    def forecast(self) -> Forecast:
        """Position and seconds of every waiting job, as things stand now."""
        eligibility = self.eligibility()
        with separate_statements(self.engine) as connection:
            waiting = self.backlog.look(connection)
            if not waiting:
                return Forecast({})
            capacity = Capacity.read(connection, eligibility)
            samples = self.queue_sample.read(connection, waiting.flows, capacity.calls_of)
        services, rivals = dict[int, ServiceRate](), dict[int, frozenset[int]]()
        by_group = _flows_by_group(waiting, capacity)
        for (model_id, requirement, lane), flows in waiting.classes.items():
            groups = {one.group for one in capacity.deployments(model_id, requirement)}
            sharing = frozenset[int]().union(*(by_group[group] for group in groups))
            services |= dict.fromkeys(
                (flow.id for flow in flows), capacity.service(model_id, requirement, lane)
            )
            rivals |= dict.fromkeys((flow.id for flow in flows), sharing)
        return forecast(samples, services, rivals)


def _flows_by_group(waiting: Waiting, capacity: Capacity) -> Mapping[str, set[int]]:
    """The flows that each quota group serves."""
    by_group = defaultdict[str, set[int]](set)
    for (model_id, requirement, _), flows in waiting.classes.items():
        for one in capacity.deployments(model_id, requirement):
            by_group[one.group].update(flow.id for flow in flows)
    return by_group


@dataclass(slots=True)
class ForecastReader:
    """The forecast as a process of the API has it: read at most once a second. For one thread at a time."""

    redis: PrefixedRedis
    forecast: Forecast = field(default_factory=lambda: Forecast({}))
    made_at: float = 0.0
    read_at: float = float("-inf")

    def estimate(self, flow_id: int, job_id: UUID) -> Estimate:
        """Position and seconds of a waiting job; None where the forecast does not know."""
        if time.monotonic() - self.read_at > INTERVAL_SECONDS:
            self._read()
        return self.forecast.estimate(flow_id, job_id, time.monotonic() - self.made_at)

    def _read(self) -> None:
        self.read_at = time.monotonic()
        try:
            key = self.redis.key(KEY)
            text, left = cast("bytes | None", self.redis.get(key)), self.redis.pttl(key)
        except (RedisError, OSError):
            text, left = None, 0
        self.forecast = Forecast.decode(text.decode()) if text else Forecast({})
        # Its age follows from how long Redis will still keep it, so no two machines' clocks are compared.
        self.made_at = self.read_at - (KEPT_SECONDS - left / 1000)
