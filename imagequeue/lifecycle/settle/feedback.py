"""Feedback: what an attempt's outcome means for the quota group and the breaker of its deployment.

Source: docs/design/rate-limiting.md, "What upstreams say back".

It is part of the transaction that settles the attempt. The rules are pure functions: for the group in
`domain/upstream_throttling.py`, for the deployment in `domain/breaker.py`.
"""

from __future__ import annotations

from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Connection

from imagequeue.domain import upstream_throttling
from imagequeue.domain.breaker import REFUSALS, cooldown_after
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
)
from imagequeue.store.attempts import closings, deployments, quota
from imagequeue.store.attempts.closings import AttemptRow
from imagequeue.store.attempts.deployments import Failures
from imagequeue.store.attempts.quota import Group

log = structlog.get_logger()


def record_outcome(
    connection: Connection, attempt: AttemptRow, outcome: AttemptOutcome, random: Random
) -> None:
    """Pause a group that throttles, open the breaker of a deployment that fails; a success ends both."""
    match outcome:
        case Succeeded():
            quota.group_succeeded(connection, attempt.quota_group, attempt.id)
            deployments.succeeded(connection, attempt.deployment, attempt.id)
        case Throttled():
            _throttled(connection, attempt, outcome)
            deployments.probes_untried(connection, [attempt.id])
        case GivenBack() | InputRefused() | OwnFault():
            quota.probes_untried(connection, [attempt.id])
            deployments.probes_untried(connection, [attempt.id])
        case ProcessDied() | NotCalledBack() | AnswerLost():
            # A process or a fault of ours, or it was counted when the wait for the upstream callback began.
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
        failures = deployments.count_failure(connection, attempt_id, reason[:500])
        _open(connection, attempt, failures, random)


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


def _refused(connection: Connection, attempt: AttemptRow, outcome: Rejected, random: Random) -> None:
    """A refusal by policy is about the prompt. Other refusals, many in a row, are about the deployment."""
    if outcome.policy:
        deployments.probes_untried(connection, [attempt.id])
        return
    reason = outcome.reason[:500]
    if deployments.count_refusal(connection, attempt.id, reason) < REFUSALS:
        deployments.probes_untried(connection, [attempt.id])
        return
    failures = deployments.count_failure(connection, attempt.id, reason, misconfigured=True)
    _open(connection, attempt, failures, random)


def _failed(
    connection: Connection,
    attempt: AttemptRow,
    outcome: Misconfigured | Unavailable | Ambiguous,
    random: Random,
) -> None:
    if isinstance(outcome, Unavailable) and not outcome.sent:
        quota.probes_untried(connection, [attempt.id])
    wrong = isinstance(outcome, Misconfigured)
    failures = deployments.count_failure(connection, attempt.id, outcome.reason[:500], misconfigured=wrong)
    _open(connection, attempt, failures, random)


def _open(connection: Connection, attempt: AttemptRow, failures: Failures | None, random: Random) -> None:
    if failures is None:
        return
    wrong = failures.misconfigured
    seconds = cooldown_after(failures.in_a_row, random, misconfigured=wrong)
    if seconds > 0:
        deployments.open_breaker(connection, attempt.deployment, seconds)
        log.error("deployment_out", deployment=attempt.deployment, seconds=seconds, misconfigured=wrong)
