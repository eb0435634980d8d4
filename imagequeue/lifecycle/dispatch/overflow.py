"""Overflow: how many jobs may a deployment of a later order take from those before it?

Only as many as the earlier orders cannot start within `spill_after_seconds` (docs/design/rate-limiting.md,
"Overflow and balance"). What they can start in that time is planned with the rule of the grant, so it counts
free tokens, pacing, pauses and rates alike. A deployment whose breaker is not closed counts for nothing, and
so does one that has as many calls in flight as it may, because it may hang.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.fairness import Flow
from imagequeue.domain.quota import grant
from imagequeue.lifecycle.dispatch.claim import Candidate
from imagequeue.lifecycle.dispatch.dispatch_pass import Pass
from imagequeue.store.jobs.flows import count_waiting


@dataclass(frozen=True, slots=True)
class Overflow:
    """The rule for one pass of the dispatcher."""

    known: Pass

    def leave(
        self, connection: Connection, candidates: Mapping[int, Candidate]
    ) -> tuple[dict[int, Candidate], int]:
        """The candidates that the earlier orders leave some calls of, and how many calls in all."""
        by_class = {
            (one.flow.requirement, one.deployment.name): one.deployment for one in candidates.values()
        }
        allowed = {key: self._allowed(connection, deployment, key[0]) for key, deployment in by_class.items()}
        if all(calls == self.known.at_once for calls in allowed.values()):
            return dict(candidates), self.known.at_once
        by_model = Counter[str]()
        for key, deployment in by_class.items():
            by_model[deployment.model] = max(by_model[deployment.model], allowed[key])
        left = {
            id_: one for id_, one in candidates.items() if allowed[one.flow.requirement, one.deployment.name]
        }
        return left, by_model.total()

    def _allowed(self, connection: Connection, deployment: Deployment, requirement: str) -> int:
        """How many of the calls that wait for its model a deployment may take."""
        eligibility = self.known.eligibility.deployments(deployment.model, requirement)
        earlier = [one for one in eligibility if one.order < deployment.order and self._works(one)]
        if not earlier:
            return self.known.at_once
        flows = self._flows_of(earlier, deployment.model)
        kept = sum(
            self._images(list(members), flows, deployment.spill_after_seconds)
            for _, members in groupby(sorted(earlier, key=_group), key=_group)
        )
        per_call = self.known.eligibility.images_of_a_job(deployment, requirement)
        most = self.known.at_once * per_call
        left = count_waiting(connection, [flow.id for flow in flows], kept + most) - kept
        return ceil(min(most, max(0, left)) / per_call)

    def _works(self, deployment: Deployment) -> bool:
        return (
            self.known.limits.breaker(deployment) is Breaker.CLOSED and deployment.group in self.known.groups
        )

    def _images(self, members: Sequence[Deployment], flows: Sequence[Flow], seconds: float) -> int:
        """How many images a group's deployments can begin to make in some seconds, of those that wait."""
        group = self.known.groups[members[0].group]
        lanes = {flow.lane for flow in flows}
        limits = sum(self.known.limits.left_in(lanes, one) for one in members)
        calls = len(grant(group.quota, group.state, min(limits, self.known.at_once), horizon=seconds))
        classes = {flow.requirement for flow in flows}
        per_call = (
            self.known.eligibility.images_of_a_job(one, requirement)
            for one in members
            for requirement in classes
        )
        return calls * max(per_call, default=0)

    def _flows_of(self, deployments: Sequence[Deployment], model_id: str) -> list[Flow]:
        """The waiting flows that some of the deployments can serve."""
        return [
            flow
            for (model, requirement, _), flows in self.known.waiting.classes.items()
            if model == model_id
            and any(self.known.eligibility.serves(one, model, requirement) for one in deployments)
            for flow in flows
        ]


def _group(deployment: Deployment) -> str:
    return deployment.group
