"""Submit: price submissions, hold their prices and insert their jobs (docs/design/pipeline.md, "Submit").

A list of submissions is one transaction (group commit), and each of them has an outcome of its own: a
submission that is refused, or repeats an earlier one, leaves no row and does not affect the others.

Locks are taken in one order, so that two groups never wait for each other in a circle: idempotency keys
(sorted), flows that are new (sorted), wallets (sorted). Nothing waits long for one, and what is not committed
in time is not committed late: the caller has been told to try again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import ImagequeueError, InsufficientBalance, InvalidRequest, ServiceUnavailable
from imagequeue.domain.ids import new_id
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.submit.idempotency import claim, follow, give_back
from imagequeue.lifecycle.submit.routing import require_route
from imagequeue.lifecycle.submit.submission import Accepted, Draft, Submission, price_usd
from imagequeue.runtime import Runtime
from imagequeue.store.database import STATEMENT_SECONDS, at_most
from imagequeue.store.jobs.insert import FlowKey, NewJob, any_exists, flow_ids, insert_jobs
from imagequeue.store.money.ledger import Hold, place_holds

SubmitOutcome = Accepted | ImagequeueError

LOCK_SECONDS = 1.0
"""What a transaction waits for a lock: less than a caller of the API waits for its answer."""


def everybody_waits(position: int) -> bool:
    """No caller gives up."""
    del position
    return True


def submit(
    runtime: Runtime,
    submissions: Sequence[Submission],
    *,
    wake: Callable[[], None],
    waits: Callable[[int], bool] = everybody_waits,
    lock_seconds: float = LOCK_SECONDS,
) -> list[SubmitOutcome]:
    """Insert a job for each submission that can be accepted; one outcome for each, in their order.

    Refusals are returned: InvalidRequest, InsufficientBalance, IdempotencyMismatch.

    Args:
        runtime: where the jobs go. The catalog is read once: a reload changes none of these submissions.
        submissions: what is submitted.
        wake: called after the commit if a job was inserted. It must not raise; a wake-up that is lost only
            delays the job.
        waits: whether the caller of the submission at a position still waits for its outcome. It is asked
            right before the commit; a submission whose caller has given up leaves no row, and its outcome is
            ServiceUnavailable. A caller that waits then must wait for the outcome.
        lock_seconds: what one statement waits for a lock.

    Raises:
        LockTimeout: a lock was not free in time; no job was inserted.
        TooSlow: a statement took too long; no job was inserted.
        DBAPIError: the database is away or refuses the transaction; then no job was inserted.
    """
    drafts = _inserted(runtime, submissions, waits, lock_seconds)
    if any(_is_new(draft) for draft in drafts):
        wake()
    return [outcome for draft in drafts if (outcome := draft.outcome) is not None]


def accept(
    connection: Connection, runtime: Runtime, catalog: Catalog, submissions: Sequence[Submission]
) -> list[SubmitOutcome]:
    """What `submit` does, in the caller's transaction: one outcome for each submission, in their order.

    The caller has read the catalog once, so that its prices are those that are held. It commits, wakes the
    dispatchers afterwards, and sets how long a statement may wait for a lock.

    Raises:
        DBAPIError: the database is away or refuses a statement; the transaction is to be rolled back.
    """
    drafts = [Draft(submission, new_id()) for submission in submissions]
    _decide(connection, runtime, catalog, drafts)
    return [outcome for draft in drafts if (outcome := draft.outcome) is not None]


def _inserted(
    runtime: Runtime, submissions: Sequence[Submission], waits: Callable[[int], bool], lock_seconds: float
) -> list[Draft]:
    """The decided drafts, committed. It begins again without the submissions whose callers have given up."""
    catalog = runtime.catalog
    gone: set[int] = set()
    while True:
        drafts = [
            Draft(submission, new_id(), ServiceUnavailable() if position in gone else None)
            for position, submission in enumerate(submissions)
        ]
        try:
            _insert(runtime, catalog, drafts, waits, lock_seconds)
        except _CallersGone as found:
            gone |= found.positions
        else:
            return drafts


class _CallersGone(Exception):
    """Callers gave up before the commit; it rolls the transaction back."""

    def __init__(self, positions: set[int]) -> None:
        super().__init__()
        self.positions = positions


def _insert(
    runtime: Runtime,
    catalog: Catalog,
    drafts: Sequence[Draft],
    waits: Callable[[int], bool],
    lock_seconds: float,
) -> None:
    """Decide all drafts without an outcome in one transaction.

    Raises:
        _CallersGone: some of those that would be accepted have no caller any more; nothing was committed.
    """
    undecided = [draft for draft in drafts if draft.outcome is None]
    committing, flows = False, dict[FlowKey, int]()
    try:
        with runtime.engine.begin() as connection:
            with at_most(connection, STATEMENT_SECONDS, lock_seconds=lock_seconds):
                flows = _decide(connection, runtime, catalog, undecided)
            failpoint("submit.before_commit")
            gone = {n for n, draft in enumerate(drafts) if _is_new(draft) and not waits(n)}
            if gone:
                raise _CallersGone(gone)
            committing = True
    except DBAPIError as error:
        if not (committing and error.connection_invalidated and _was_committed(runtime, drafts)):
            raise
    failpoint("submit.after_commit")
    runtime.flow_ids.remember(flows)  # after the commit: a flow that was rolled back has no id


def _was_committed(runtime: Runtime, drafts: Sequence[Draft]) -> bool:
    """Whether a commit whose answer was lost has taken place: its jobs are there."""
    new = [draft.job_id for draft in drafts if _is_new(draft)]
    with runtime.engine.begin() as connection:
        return any_exists(connection, new)


def _is_new(draft: Draft) -> bool:
    return isinstance(draft.outcome, Accepted) and not draft.outcome.replayed


def _decide(
    connection: Connection, runtime: Runtime, catalog: Catalog, drafts: Sequence[Draft]
) -> dict[FlowKey, int]:
    """Give every draft its outcome; returns the ids of the flows that were used, for this process's cache.

    1. `claim` notes each Idempotency-Key, and gives a repeat the outcome of the earlier submit. Of several
       drafts with one key in this list the first is the leader; the others (`following`) wait for it.
    2. Drafts that are still without an outcome are refused, or held for and inserted.
    3. `give_back` frees the keys of refused drafts, so that the client may use them again.
    4. `follow` gives the followers the outcome of their leaders. A follower whose leader was refused is
       decided anew, on its own.
    """
    following = claim(connection, drafts)
    followers = {id(draft) for draft, _ in following}
    _refuse_unservable(catalog, _open(drafts, followers))
    flows = _flows(connection, runtime, _open(drafts, followers))
    _accept(connection, catalog, flows, _open(drafts, followers))
    give_back(connection, drafts)
    rest = follow(following)
    return flows | _decide(connection, runtime, catalog, rest) if rest else flows


def _open(drafts: Iterable[Draft], followers: set[int]) -> list[Draft]:
    return [draft for draft in drafts if draft.outcome is None and id(draft) not in followers]


def _refuse_unservable(catalog: Catalog, drafts: Sequence[Draft]) -> None:
    now = datetime.now(UTC)
    for draft in drafts:
        try:
            _require_time(draft.submission, now)
            require_route(catalog, draft.submission.request.model_id, draft.requirement)
        except InvalidRequest as error:
            draft.outcome = error


def _require_time(submission: Submission, now: datetime) -> None:
    deadlines = {"X-Start-By": submission.start_by, "X-Finish-By": submission.finish_by}
    for name, moment in deadlines.items():
        if moment is not None and moment <= now:
            raise InvalidRequest(f"{name} has passed already")


def _flows(connection: Connection, runtime: Runtime, drafts: Sequence[Draft]) -> dict[FlowKey, int]:
    keys = {draft.flow for draft in drafts}
    known = runtime.flow_ids.known(keys)
    missing = [key for key in keys if key not in known]
    return known | flow_ids(connection, missing) if missing else known


def _accept(
    connection: Connection, catalog: Catalog, flows: dict[FlowKey, int], drafts: Sequence[Draft]
) -> None:
    """Hold the prices, and insert the jobs whose accounts could pay; the others get InsufficientBalance."""
    prices = {draft.job_id: price_usd(catalog, draft.submission.request) for draft in drafts}
    holds = [Hold(draft.job_id, draft.submission.account_id, prices[draft.job_id]) for draft in drafts]
    paid = place_holds(connection, holds)
    for draft in drafts:
        payable = draft.job_id in paid
        draft.outcome = Accepted.of(draft.submission, draft.job_id) if payable else InsufficientBalance()
    jobs = [_job(draft, flows[draft.flow], prices[draft.job_id]) for draft in drafts if draft.job_id in paid]
    if jobs:
        insert_jobs(connection, jobs)


def _job(draft: Draft, flow_id: int, price: Decimal) -> NewJob:
    submission = draft.submission
    return NewJob(
        id=draft.job_id,
        account_id=submission.account_id,
        flow_id=flow_id,
        request=submission.request,
        price_usd=price,
        dialect=submission.dialect,
        start_by=submission.start_by,
        finish_by=submission.finish_by,
        webhook_url=submission.webhook_url,
        client_headers=submission.client_headers,
        on_unknown=submission.on_unknown,
        notes=submission.notes,
    )
