"""What a job has met at its deployments, read for a verdict (`domain/rounds.py` has the rules)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.images import Requirement
from imagequeue.domain.rounds import Rounds
from imagequeue.providers.registry import images_per_call
from imagequeue.store.attempts import deployments
from imagequeue.store.jobs import failures


@dataclass(frozen=True, slots=True)
class JobTrouble:
    """The rounds of a job, the deployments that can serve it, and when each last failed it."""

    job_id: UUID
    rounds: Rounds
    able: Sequence[Deployment]
    failed_at: dict[str, datetime | None]

    @classmethod
    def read(
        cls, connection: Connection, catalog: Catalog, job_id: UUID, model_id: str, requirement: str
    ) -> JobTrouble:
        """Read what failed a job of this model and requirement."""
        wanted = Requirement.parse(requirement)
        able = [one for one in catalog.deployments_of(model_id) if images_per_call(one, wanted)]
        known = failures.read_failures(connection, job_id)
        counts = {name: one.count for name, one in known.items()}
        ages = {name: one.age for name, one in known.items()}
        rounds = Rounds(counts, {one.name: one.max_attempts for one in able}, ages)
        return cls(job_id, rounds, able, {name: one.failed_at for name, one in known.items()})

    def counted_before(self, deployment: str, granted_at: datetime) -> bool:
        """Whether a failure of the deployment was counted after an attempt was granted: it adds none."""
        failed_at = self.failed_at.get(deployment)
        return failed_at is not None and granted_at <= failed_at

    def out(self, connection: Connection, rounds: Rounds) -> frozenset[str]:
        """The deployments for which the job need not wait, when its rounds have come to this.

        They are out, and another one that the job has used up has served other jobs meanwhile.
        """
        if not (rounds.used_up and rounds.left):
            return frozenset()
        out = self._out_of_service(connection) & frozenset(rounds.left)
        groups = {one.group for one in self.able if one.name in rounds.used_up}
        serves = bool(out) and failures.served_others(connection, self.job_id, rounds.used_up, groups)
        return out if serves else frozenset()

    def _out_of_service(self, connection: Connection) -> frozenset[str]:
        """The deployments that make no calls now: their quota is used up, or their breaker is not closed."""
        states, empty = deployments.read_states(connection), deployments.groups_out_of_quota(connection)
        broken = {name for name, state in states.items() if state.breaker is not Breaker.CLOSED}
        return frozenset(one.name for one in self.able if one.group in empty or one.name in broken)
