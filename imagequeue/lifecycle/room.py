"""Room: how many more calls the workers have slots for (rate-limiting.md, "The rule").

Released and calling attempts never exceed the slots that live workers report, and one deployment holds at
most half of a lane's slots, or its `max_in_flight`, so that one that hangs cannot starve the others. A
deployment whose breaker is open has no room; a half-open one has room for its probe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.jobs import Lane
from imagequeue.store import attempts, deployments, processes
from imagequeue.store.deployments import DeploymentState


@dataclass(slots=True)
class Room:
    """Slots per lane, and what is in flight; `take` uses one up."""

    slots: Mapping[Lane, int] = field(default_factory=dict[Lane, int])
    by_lane: Counter[Lane] = field(default_factory=Counter[Lane])
    by_deployment: Counter[str] = field(default_factory=Counter[str])
    states: Mapping[str, DeploymentState] = field(default_factory=dict[str, DeploymentState])
    probes: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    def look(cls, connection: Connection) -> Room:
        """Read the slots and what is in flight."""
        queues = processes.slots_by_queue(connection)
        room = cls(
            slots={lane: queues.get(f"generate.{lane}", 0) for lane in Lane},
            states=deployments.read_states(connection),
        )
        for (deployment, lane), count in attempts.open_counts(connection).items():
            room.by_lane[lane] += count
            room.by_deployment[deployment] += count
        return room

    def breaker(self, deployment: Deployment) -> Breaker:
        """How a deployment's circuit breaker stands."""
        state = self.states.get(deployment.name)
        return state.breaker if state else Breaker.CLOSED

    def limit(self, lane: Lane, deployment: Deployment) -> int:
        """How many calls a deployment may have in flight."""
        return deployment.max_in_flight or max(1, self.slots.get(lane, 0) // 2)

    def left(self, lane: Lane, deployment: Deployment) -> int:
        """How many more calls of a lane a deployment may have."""
        match self.breaker(deployment):
            case Breaker.OPEN:
                return 0
            case Breaker.HALF_OPEN:
                return min(self._slots_left(lane), 1 - self.probes[deployment.name])
            case Breaker.CLOSED:
                left = self.limit(lane, deployment) - self.by_deployment[deployment.name]
                return max(0, min(self._slots_left(lane), left))

    def take(self, lane: Lane, deployment: Deployment) -> bool:
        """Use one slot up; False when there is none."""
        if self.left(lane, deployment) <= 0:
            return False
        self.by_lane[lane] += 1
        self.by_deployment[deployment.name] += 1
        self.probes[deployment.name] += 1
        return True

    def _slots_left(self, lane: Lane) -> int:
        return max(0, self.slots.get(lane, 0) - self.by_lane[lane])
