"""What a verdict needs to know of an attempt and its job: read as far as the outcome makes it matter."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from imagequeue.domain.batches import OnUnknown
from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.jobs import AttemptState
from imagequeue.domain.upstream import Ambiguous, Unavailable
from imagequeue.domain.verdicts import AttemptOutcome, History, NotCalledBack, ProcessDied
from imagequeue.lifecycle.settle.rounds import JobTrouble
from imagequeue.store.attempts import closings
from imagequeue.store.attempts.closings import AttemptRow
from imagequeue.store.jobs.settlements import LockedJob


def read_history(  # what is locked, and what came
    connection: Connection,
    catalog: Catalog,
    attempt: AttemptRow,
    job: LockedJob,
    outcome: AttemptOutcome,
) -> History:
    """The history of a job whose row is locked."""
    may_have_died = isinstance(outcome, ProcessDied | NotCalledBack)
    deployment = catalog.deployment(attempt.deployment)
    may = attempt.upstream_reference is not None or (deployment is not None and deployment.callbacks)
    history = History(
        deployment=attempt.deployment,
        deaths=closings.other_deaths(connection, attempt.id) if may_have_died else 0,
        retry_ambiguous=_may_repeat(deployment, job),
        calls_back=may and not job.status.is_final,
        orphaned=attempt.state is AttemptState.SLEEPING and attempt.process_id is not None,
    )
    if not isinstance(outcome, Unavailable | Ambiguous):
        return history
    met = JobTrouble.read(connection, catalog, job.id, job.model_id, job.requirement)
    same_round = met.counted_before(attempt.deployment, attempt.created_at)
    history = replace(history, rounds=met.rounds, same_round=same_round)
    return replace(history, out=met.out(connection, history.rounds_after))


def _may_repeat(deployment: Deployment | None, job: LockedJob) -> bool:
    """Whether a call whose outcome is unknown may be made again: if the client and the deployment agree."""
    return job.on_unknown is OnUnknown.RETRY and (deployment is None or deployment.retry_ambiguous)
