"""Idempotency: find submits that repeat an earlier one (docs/design/pipeline.md, "Idempotency").

A client says that a submit is a repeat by an `Idempotency-Key`, or by sending the body again with a retry
count. The first submit of such a body need not have carried a count, so every submit without a key is noted;
the lines of a batch are not, because they are not posted one by one.

A submit and its repeat may also be in the same group, because they arrived within the same millisecond. Then
the first one is the leader, and its followers get its outcome without a statement of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.errors import IdempotencyMismatch, ImagequeueError
from imagequeue.lifecycle.submit.submission import Accepted, Draft, Submission
from imagequeue.store.jobs.idempotency import (
    Earlier,
    KeyClaim,
    RetryClaim,
    claim_keys,
    claim_retries,
    drop_keys,
    drop_retries,
)

Following = list[tuple[Draft, Draft]]
"""Followers, each with its leader."""


def claim(connection: Connection, drafts: Sequence[Draft]) -> Following:
    """Note the keys, or the bodies, of the drafts; a repeat of a committed submit gets its outcome.

    Returns the drafts whose outcome depends on another draft of this list, each with that one.
    """
    claimants, following = _elect(drafts)
    by_key = [draft for draft in claimants if draft.submission.idempotency_key is not None]
    by_retry = [draft for draft in claimants if draft.submission.idempotency_key is None]
    if by_key:
        _settle_claims(by_key, claim_keys(connection, [_key_claim(draft) for draft in by_key]))
    if by_retry:
        _settle_claims(by_retry, claim_retries(connection, [_retry_claim(draft) for draft in by_retry]))
    return following


def give_back(connection: Connection, drafts: Iterable[Draft]) -> None:
    """Delete the notes of drafts that were refused: only accepted jobs are remembered."""
    refused = [draft for draft in drafts if draft.claimed and not isinstance(draft.outcome, Accepted)]
    by_key = [_key_claim(draft) for draft in refused if draft.submission.idempotency_key is not None]
    by_retry = [_retry_claim(draft) for draft in refused if draft.submission.idempotency_key is None]
    if by_key:
        drop_keys(connection, by_key)
    if by_retry:
        drop_retries(connection, by_retry)


def follow(following: Following) -> list[Draft]:
    """Give followers the outcome of their leaders; returns those that have to be decided on their own."""
    for draft, leader in following:
        draft.outcome = _followed(draft.submission, leader)
    return [draft for draft, _ in following if draft.outcome is None]


def _followed(submission: Submission, leader: Draft) -> Accepted | ImagequeueError | None:
    same = submission.fingerprint == leader.submission.fingerprint
    if not isinstance(leader.outcome, Accepted):
        return leader.outcome if same and submission.idempotency_key is not None else None
    if not same:
        return IdempotencyMismatch()
    return Accepted.of(submission, leader.outcome.job_id, replayed=True)


def _elect(drafts: Sequence[Draft]) -> tuple[list[Draft], Following]:
    """Choose the drafts that claim, and those that follow one of them."""
    leaders: dict[tuple[UUID, str | bytes], Draft] = {}
    following: Following = []
    for draft in drafts:
        identity = _identity(draft.submission)
        leader = leaders.setdefault(identity, draft) if identity else draft
        if leader is not draft and _repeats(draft.submission, leader.submission):
            following.append((draft, leader))
    return list(leaders.values()), following


def _identity(submission: Submission) -> tuple[UUID, str | bytes] | None:
    if submission.idempotency_key is not None:
        return submission.account_id, submission.idempotency_key
    return None if submission.batch_id is not None else (submission.api_key_id, submission.fingerprint)


def _repeats(submission: Submission, earlier: Submission) -> bool:
    """Whether the first of two submissions with the same identity repeats the second.

    Equal bodies with equal retry counts, or without any, ask for two jobs.
    """
    if submission.idempotency_key is not None:
        return True
    return (submission.retry_count or 0) > (earlier.retry_count or 0)


def _settle_claims(claimants: Sequence[Draft], earlier: dict[UUID, Earlier]) -> None:
    for draft in claimants:
        met = earlier.get(draft.job_id)
        if met is None:
            draft.claimed = True
        elif met.fingerprint != draft.submission.fingerprint:
            draft.outcome = IdempotencyMismatch()
        else:
            draft.outcome = Accepted.of(draft.submission, met.job_id, replayed=True)


def _key_claim(draft: Draft) -> KeyClaim:
    submission = draft.submission
    return KeyClaim(
        submission.account_id, submission.idempotency_key or "", submission.fingerprint, draft.job_id
    )


def _retry_claim(draft: Draft) -> RetryClaim:
    submission = draft.submission
    return RetryClaim(
        submission.api_key_id, submission.fingerprint, draft.job_id, submission.retry_count or 0
    )
