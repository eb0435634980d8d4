"""A 429 that only one request provokes, as an upstream's moderation does: it is no reason to pause the group.

Source: docs/adr/0027-a-429-that-one-job-gets-alone.md.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import Connection

from imagequeue.domain.upstream import Throttled
from imagequeue.domain.upstream_throttling import is_alone
from imagequeue.domain.verdicts import AttemptOutcome, ThrottledAlone
from imagequeue.store.attempts import deployments, throttles
from imagequeue.store.attempts.closings import AttemptRow

log = structlog.get_logger()


def as_own_trouble(
    connection: Connection, attempt: AttemptRow, account_id: UUID, outcome: AttemptOutcome
) -> AttemptOutcome:
    """The outcome, unless it is a 429 that this job gets while the quota group serves others."""
    if not isinstance(outcome, Throttled) or outcome.out_of_quota:
        return outcome
    met = throttles.read_throttles(connection, attempt.id)
    if not is_alone(met.others_served) and not _is_accounts_own(connection, attempt, account_id):
        return outcome
    log.warning("throttled_alone", attempt_id=str(attempt.id), quota_group=attempt.quota_group)
    return ThrottledAlone(outcome)


def _is_accounts_own(connection: Connection, attempt: AttemptRow, account_id: UUID) -> bool:
    """Whether the account's jobs have met such 429s lately, and another account was served lately."""
    return throttles.had_throttles_alone(
        connection, attempt.quota_group, account_id
    ) and deployments.served_lately(
        connection, attempt.deployment, attempt.quota_group, other_than_account=account_id
    )
