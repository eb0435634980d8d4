"""Feedback: what an attempt's outcome means for the quota group and the breaker of its deployment.

Source: docs/design/rate-limiting.md, "What upstreams say back".

It is part of the transaction that settles the attempt. The rules are pure functions: for the group in
`domain/upstream_throttling.py`, for the deployment in `domain/breaker.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Connection

from imagequeue.domain import breaker, upstream_throttling
from imagequeue.domain.breaker import FailedCall, cooldown_after
from imagequeue.domain.upstream import Ambiguous, Misconfigured, Rejected, Throttled, Unavailable
from imagequeue.domain.verdicts import (
    AnswerLost,
    AttemptOutcome,
    GivenBack,
    InputRefused,
    NotCalledBack,
    OwnFault,
    ProcessDied,
    Succeeded,
    ThrottledAlone,
)
from imagequeue.store.attempts import closings, deployments, quota, throttles
from imagequeue.store.attempts.closings import AttemptRow
from imagequeue.store.attempts.deployments import Evidence
from imagequeue.store.attempts.quota import Group
from imagequeue.store.jobs import failures

log = structlog.get_logger()


def record_outcome(
    connection: Connection, attempt: AttemptRow, outcome: AttemptOutcome, random: Random
) -> None:
    """Pause a group that throttles, open the breaker of a deployment that fails; a success ends both."""
    match outcome:
        case Succeeded() if not attempt.is_failing:
            return
        case Succeeded():
            quota.group_succeeded(connection, attempt.quota_group, attempt.id)
            deployments.succeeded(connection, attempt.deployment, attempt.id)
        case Throttled():
            _throttled(connection, attempt, outcome)
            deployments.probes_untried(connection, [attempt.id])
        case GivenBack() | InputRefused() | OwnFault():
            quota.probes_untried(connection, [attempt.id])
            deployments.probes_untried(connection, [attempt.id])
        case ProcessDied() | NotCalledBack() | AnswerLost() | ThrottledAlone():
            # A process or a fault of ours, the request itself, or counted before the wait for the callback.
            deployments.probes_untried(connection, [attempt.id])
        case Rejected():
            _refused(connection, attempt, outcome, random)
        case Misconfigured() | Unavailable() | Ambiguous():
            _failed(connection, attempt, outcome, random)
        case _:
            return


def poll_failed(connection: Connection, attempt_id: UUID, reason: str, random: Random) -> None:
    """Count a failed poll for the deployment's breaker; the attempt sleeps on and is not submitted again."""
    attempt = closings.read_attempt(connection, attempt_id)
    if attempt is not None:
        _failed(connection, attempt, Ambiguous(reason), random)


def _throttled(connection: Connection, attempt: AttemptRow, outcome: Throttled) -> None:
    group = quota.lock_group(connection, attempt.quota_group)
    pause = upstream_throttling.pause_after(
        outcome.retry_after,
        group.throttled_in_a_row,
        group.quota.window,
        out_of_quota=outcome.out_of_quota,
        echo=quota.is_echo(connection, attempt.id),
    )
    quota.pause_group(connection, group.name, pause, outcome.reason[:500])
    if throttles.read_throttles(connection, attempt.id).before:
        delay = pause.seconds + upstream_throttling.STEP_BACK_SECONDS
        failures.record_failure(connection, attempt.job_id, attempt.deployment, counts=False, delay=delay)
    if not (pause.out_of_quota or pause.echo) and quota.calls_before(connection, attempt.id) < group.rpm:
        _drifted(connection, group)
    log.warning("throttled", quota_group=group.name, seconds=pause.seconds, out_of_quota=pause.out_of_quota)


def _drifted(connection: Connection, group: Group) -> None:
    """Our own calls were within the quota, so other traffic uses it too, or the way there jitters more."""
    drift = upstream_throttling.drifted(
        group.drift,
        rpm=group.rpm,
        guard=group.catalog_guard,
        window=group.quota.window,
        now=group.state.now,
    )
    quota.set_drift(connection, group.name, drift, new_drifts=1)
    log.warning(
        "quota_drift",
        quota_group=group.name,
        effective_rpm=drift.effective_rpm,
        extra_guard_seconds=drift.extra_guard,
    )


def as_misconfigured(connection: Connection, attempt: AttemptRow, outcome: AttemptOutcome) -> AttemptOutcome:
    """The outcome, unless it blames our deployment in doubt and the deployment serves other jobs.

    Then it is this job that cannot be served there, as with any other failure.
    """
    if not (isinstance(outcome, Misconfigured) and outcome.in_doubt):
        return outcome
    if not deployments.served_lately(
        connection, attempt.deployment, attempt.quota_group, other_than_job=attempt.job_id
    ):
        return outcome
    unavailable = Unavailable(outcome.reason, http_status=outcome.http_status)
    unavailable.cost_usd = outcome.cost_usd
    return unavailable


def _refused(connection: Connection, attempt: AttemptRow, outcome: Rejected, random: Random) -> None:
    """A refusal by policy is about the request. Many others in a row are about the deployment."""
    evidence = None if outcome.policy else deployments.hold_evidence(connection, attempt.id)
    if evidence is None:
        deployments.probes_untried(connection, [attempt.id])
        return
    evidence = replace(evidence, refused=breaker.remember(evidence.refused, evidence.call))
    served = _others_are_served(connection, attempt)
    if breaker.count_against(evidence.refused, breaker.REFUSALS, served) < breaker.REFUSALS:
        deployments.probes_untried(connection, [attempt.id])
        deployments.record_evidence(connection, evidence, outcome.reason[:500])
        return
    evidence = replace(evidence, opened_by=_opener(evidence, evidence.refused))
    _fail(connection, _misconfigured(evidence), outcome.reason, random)


def _failed(
    connection: Connection,
    attempt: AttemptRow,
    outcome: Misconfigured | Unavailable | Ambiguous,
    random: Random,
) -> None:
    unsent = isinstance(outcome, Unavailable) and not outcome.sent
    if unsent:
        quota.probes_untried(connection, [attempt.id])
    evidence = deployments.hold_evidence(connection, attempt.id)
    if evidence is None:
        return
    if unsent or (isinstance(outcome, Misconfigured) and not outcome.in_doubt):
        # It does not matter whose call it was, so each of them counts.
        evidence = replace(evidence, call=FailedCall(None, attempt.id.int))
    confirms = evidence.opened_by not in {None, evidence.call.account_id}
    evidence = replace(evidence, failed=breaker.remember(evidence.failed, evidence.call))
    evidence = replace(evidence, opened_by=_opener(evidence, evidence.failed))
    if isinstance(outcome, Misconfigured):
        evidence = _misconfigured(evidence)
    elif evidence.opened and confirms:
        pass  # another account's probe, made at once, has met the same outage: the cooldown begins short
    elif evidence.opened:
        evidence = replace(evidence, failures=evidence.failures + 1)
    else:
        served = _others_are_served(connection, attempt)
        failures = breaker.count_against(evidence.failed, breaker.FAILURES, served)
        evidence = replace(evidence, failures=failures)
    _fail(connection, evidence, outcome.reason, random)


def _opener(evidence: Evidence, calls: tuple[FailedCall, ...]) -> UUID | None:
    """The account whose calls alone open the breaker, or have opened it and fail as its probes."""
    if not evidence.opened:
        return breaker.lone_account(calls)
    return evidence.opened_by if evidence.opened_by == evidence.call.account_id else None


def _misconfigured(evidence: Evidence) -> Evidence:
    failures = evidence.failures + 1 if evidence.misconfigured else 1
    return replace(evidence, failures=failures, misconfigured=True)


def _others_are_served(connection: Connection, attempt: AttemptRow) -> Callable[[UUID], bool]:
    def are_served(account_id: UUID) -> bool:
        return deployments.served_lately(
            connection, attempt.deployment, attempt.quota_group, other_than_account=account_id
        )

    return are_served


def _fail(connection: Connection, evidence: Evidence, reason: str, random: Random) -> None:
    """Record one more failure; the breaker opens if that is enough."""
    wrong = evidence.misconfigured
    seconds = cooldown_after(evidence.failures, random, misconfigured=wrong)
    deployments.record_evidence(connection, evidence, reason[:500], seconds)
    if seconds > 0:
        log.error("deployment_out", deployment=evidence.name, seconds=seconds, misconfigured=wrong)
