"""Settle: record the outcome of an attempt and what it means for its job, in one transaction.

`judge` (`domain/verdicts.py`) decides what the outcome means. The transaction then closes the attempt, adds
its images to the job or returns its missing images for another attempt, and tells the deployment's breaker
and its quota group (`feedback.py`). When the job ends by it, the same transaction ends the hold, and writes
the final body and the webhooks (`job_end.py`).

The first success wins. A failure is accepted only from the process that makes the call, or when that process
is dead; the `Fence` of the statement says which. A success is accepted from any attempt of a live job, also
from one that was given up or was settled with fewer images, so that a paid image is never thrown away. An
image that is no longer missing is counted as a duplicate (docs/design/pipeline.md, "An attempt").

A call in doubt ends nothing yet if its upstream may call back: the attempt sleeps until then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from imagequeue.domain.batches import LineError
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.jobs import OPEN_ATTEMPTS, AttemptState, JobStatus
from imagequeue.domain.verdicts import (
    AttemptOutcome,
    GivenBack,
    History,
    ProcessDied,
    StoredImage,
    Succeeded,
    Verdict,
    judge,
)
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.settle import feedback
from imagequeue.lifecycle.settle.history import read_history
from imagequeue.lifecycle.settle.job_end import JobEnd
from imagequeue.lifecycle.settle.throttled_alone import as_own_trouble
from imagequeue.store.attempts import closings
from imagequeue.store.attempts.closings import AttemptRow, Closing
from imagequeue.store.attempts.fences import Fence
from imagequeue.store.database import locks_within
from imagequeue.store.jobs import failures, settlements
from imagequeue.store.jobs.settlements import LockedJob

log = structlog.get_logger()

_SUCCESS_FROM = OPEN_ATTEMPTS | {AttemptState.UNKNOWN, AttemptState.LOST, AttemptState.SUCCEEDED}


@dataclass(frozen=True, slots=True)
class Settlement:
    """Ends attempts and jobs. `announce` is called after the commit with the jobs that became final."""

    engine: Engine
    catalog: Callable[[], Catalog]
    job_end: JobEnd
    announce: Callable[[Sequence[UUID]], None]
    random: Random = field(default_factory=Random)

    def settle(
        self,
        attempt_id: UUID,
        outcome: AttemptOutcome,
        process_id: UUID | None = None,
        reference: str | None = None,
        *,
        lock_seconds: float | None = None,
    ) -> bool:
        """Record an outcome; True when the job became final by it.

        It may be called again when a commit was interrupted: the second time changes nothing.

        Args:
            attempt_id: whose outcome it is.
            outcome: what came of the call.
            process_id: the process that made the call; without it a failure closes no call in flight.
            reference: what the upstream was polled for; a failure does not close a sleeping attempt that has
                learned another reference since.
            lock_seconds: the longest wait for a lock; None: the session's.

        Raises:
            LockTimeout: a lock was not free within `lock_seconds`; nothing is recorded.
        """
        fence = _fence(outcome, process_id, reference)
        with self.engine.begin() as connection, locks_within(connection, lock_seconds):
            finished = self._settle(connection, attempt_id, outcome, fence)
            failpoint("settle.before_commit")
        failpoint("settle.after_commit")
        if finished:
            self.announce([finished])
        return finished is not None

    def note_refusal(self, attempt_id: UUID, outcome: AttemptOutcome, reason: str) -> None:
        """Store with an attempt what its call cost, and why its outcome is not recorded; it stays open."""
        with self.engine.begin() as connection:
            attempt = closings.read_attempt(connection, attempt_id)
            if attempt is not None:
                closings.note(connection, attempt_id, reason, self.cost(attempt, outcome))

    def end(  # noqa: PLR0913  # what the jobs end as, and on what condition
        self,
        job_ids: Sequence[UUID],
        status: JobStatus,
        error: str,
        code: LineError = LineError.NOT_SERVED,
        *,
        provided: Callable[[Connection], bool] = lambda _: True,
        lock_seconds: float | None = None,
    ) -> list[UUID]:
        """End jobs before their images come (cancelled, past a deadline); returns those that were live.

        `code` is the error of those that are lines of a batch.
        `provided` is called first, in the same transaction; where it returns False nothing is ended.

        Raises:
            LockTimeout: a lock was not free within `lock_seconds`, if they are given; nothing was ended.
        """
        with self.engine.begin() as connection, locks_within(connection, lock_seconds):
            if not provided(connection):
                return []
            jobs = settlements.lock_jobs(connection, job_ids)
            ended = self.job_end.write(connection, jobs, status, error, code)
        if ended:
            self.announce(ended)
        return ended

    def _settle(
        self, connection: Connection, attempt_id: UUID, outcome: AttemptOutcome, fence: Fence
    ) -> UUID | None:
        attempt = closings.read_attempt(connection, attempt_id)
        if attempt is None:  # the retention deleted it while its process stood still
            log.warning("attempt_gone", attempt_id=str(attempt_id), outcome=type(outcome).__name__)
            return None
        (job,) = settlements.lock_jobs(connection, [attempt.job_id])
        outcome = feedback.as_misconfigured(connection, attempt, outcome)
        outcome = as_own_trouble(connection, attempt, job.account_id, outcome)
        history = read_history(connection, self.catalog(), attempt, job, outcome)
        if fence.reference is not None:  # it was polled for, so no upstream callback is waited for
            history = replace(history, calls_back=False)
        verdict = judge(outcome, history, self.random)
        if verdict.state is AttemptState.SLEEPING:
            self._let_sleep(connection, attempt, outcome, verdict, fence)
            return None
        cost = {attempt_id: self.cost(attempt, outcome)}
        if not closings.close_attempts(connection, cost, _closing(verdict, outcome), fence):
            return None
        feedback.record_outcome(connection, attempt, outcome, self.random)
        if isinstance(outcome, Succeeded):
            return self._add_images(connection, job, attempt, outcome.images)
        return self._after_failure(connection, job, history, verdict)

    def _let_sleep(
        self,
        connection: Connection,
        attempt: AttemptRow,
        outcome: AttemptOutcome,
        verdict: Verdict,
        fence: Fence,
    ) -> None:
        """Leave the attempt open. The deployment's breaker counts the doubt now, not when the wait ends."""
        deployment = self.catalog().deployment(attempt.deployment)
        timeout = deployment.timeout_seconds if deployment else None
        if closings.let_sleep(connection, attempt.id, fence, timeout=timeout, died=verdict.died):
            feedback.record_outcome(connection, attempt, outcome, self.random)
            log.warning("call_in_doubt", attempt_id=str(attempt.id), deployment=attempt.deployment)

    def cost(self, attempt: AttemptRow, outcome: AttemptOutcome) -> Decimal | None:
        """What the upstream charged (USD): what it says, or else the catalog's cost per image that came."""
        if outcome.cost_usd is not None or not outcome.paid_images:
            return outcome.cost_usd
        deployment = self.catalog().deployment(attempt.deployment)
        known = deployment.cost_usd if deployment else None
        return None if known is None else known * outcome.paid_images

    def _add_images(
        self, connection: Connection, job: LockedJob, attempt: AttemptRow, images: Sequence[StoredImage]
    ) -> UUID | None:
        stored = settlements.stored_images(connection, job)
        taken, known = {ordinal for ordinal, _, _ in stored}, {key for _, key, _ in stored}
        missing = [ordinal for ordinal in range(1, job.image_count + 1) if ordinal not in taken]
        fresh = [image for image in images if image.storage_key not in known]
        new = list(zip(missing, fresh, strict=False)) if not job.status.is_final else []
        settlements.add_images(connection, [(job.id, attempt.id, *one) for one in new])
        if len(new) < len(fresh):
            settlements.record_duplicates(connection, attempt.id, len(fresh) - len(new))
        if job.status.is_final:
            return None
        if len(new) == len(missing):
            has = sorted([*stored, *((ordinal, one.storage_key, one.media_type) for ordinal, one in new)])
            ended = self.job_end.write(connection, [job], JobStatus.COMPLETED, None, images={job.id: has})
            return job.id if ended else None
        settlements.restore_missing_images(connection, job.id)
        return None

    def _after_failure(
        self, connection: Connection, job: LockedJob, history: History, verdict: Verdict
    ) -> UUID | None:
        if job.status.is_final:
            return None
        if verdict.ends:
            ended = self.job_end.write(connection, [job], verdict.ends, verdict.error, verdict.code)
            return job.id if ended else None
        if verdict.remembers:
            counts, delay = verdict.counts, verdict.delay
            failures.record_failure(connection, job.id, history.deployment, counts=counts, delay=delay)
        if verdict.repeats:
            failures.let_repeat(connection, job.id, verdict.repeats)
        rounds = history.rounds_after.complete if verdict.counts else None
        settlements.restore_missing_images(connection, job.id, rounds=rounds)
        return None


def _closing(verdict: Verdict, outcome: AttemptOutcome) -> Closing:
    if isinstance(outcome, Succeeded):
        return Closing(verdict.state)
    return Closing(
        verdict.state,
        reason=outcome.reason[:1000],
        http_status=outcome.http_status,
        frees_token=verdict.frees_token,
        process_died=verdict.died,
    )


def _fence(outcome: AttemptOutcome, process_id: UUID | None, reference: str | None) -> Fence:
    match outcome:
        case Succeeded():
            return Fence("anyone", _SUCCESS_FROM)
        case GivenBack(started=False):
            return Fence("anyone", frozenset({AttemptState.RELEASED}))
        case ProcessDied():
            return Fence("orphaned", frozenset({AttemptState.CALLING}))
        case _:
            return Fence("caller", OPEN_ATTEMPTS, process_id, reference)
