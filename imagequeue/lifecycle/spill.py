"""Spill: may a deployment of a later order take jobs that an earlier order could serve?

Only as many as the earlier orders could not start within `spill_after_seconds` (contract.md, "order"). What
they can start in that time is planned with the very rule that grants, from what is known of their groups,
so it counts free tokens, pacing, blocks and rates alike. A deployment whose breaker is not closed starts
nothing that one could wait for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.quota import grant
from imagequeue.lifecycle.backlog import Waiting
from imagequeue.lifecycle.claim import Candidate
from imagequeue.lifecycle.room import Room
from imagequeue.lifecycle.serving import Serving
from imagequeue.store.flows import count_waiting
from imagequeue.store.quota import Group


@dataclass(frozen=True, slots=True)
class Spill:
    """The rule for one turn of the dispatcher; `groups` as they were read at its start."""

    serving: Serving
    groups: Mapping[str, Group]
    waiting: Waiting
    room: Room
    plan_at_most: int

    def leave(
        self, connection: Connection, candidates: Mapping[int, Candidate]
    ) -> tuple[dict[int, Candidate], int]:
        """The candidates that the earlier orders leave some calls of, and how many calls in all."""
        by_class = {
            (one.flow.requirement, one.deployment.name): one.deployment for one in candidates.values()
        }
        allowed = {key: self._allowed(connection, deployment, key[0]) for key, deployment in by_class.items()}
        if all(calls == self.plan_at_most for calls in allowed.values()):
            return dict(candidates), self.plan_at_most
        by_model = Counter[str]()
        for key, deployment in by_class.items():
            by_model[deployment.model] = max(by_model[deployment.model], allowed[key])
        left = {
            id_: one for id_, one in candidates.items() if allowed[one.flow.requirement, one.deployment.name]
        }
        return left, by_model.total()

    def _allowed(self, connection: Connection, deployment: Deployment, requirement: str) -> int:
        """How many of the calls that wait for its model a deployment may take."""
        serving = self.serving.deployments(deployment.model, requirement)
        earlier = [one for one in serving if one.order < deployment.order and self._works(one)]
        if not earlier:
            return self.plan_at_most
        kept = sum(
            self._starts(group, deployment.spill_after_seconds) for group in {one.group for one in earlier}
        )
        flow_ids = self._flows_of(earlier, deployment.model)
        return max(0, count_waiting(connection, flow_ids, kept + self.plan_at_most) - kept)

    def _works(self, deployment: Deployment) -> bool:
        return self.room.breaker(deployment) is Breaker.CLOSED and deployment.group in self.groups

    def _starts(self, group_name: str, seconds: float) -> int:
        group = self.groups[group_name]
        return len(grant(group.quota, group.state, self.plan_at_most, horizon=seconds))

    def _flows_of(self, deployments: Sequence[Deployment], model_id: str) -> list[int]:
        """The waiting flows that some of the deployments can serve."""
        return [
            flow.id
            for (model, requirement, _), flows in self.waiting.classes.items()
            if model == model_id and any(self.serving.serves(one, model, requirement) for one in deployments)
            for flow in flows
        ]
