"""One turn of the expander: lines of one flow become jobs in one short transaction, or fail by themselves.

Locks are taken in the order lines, batch, wallet, counters; whoever pauses or cancels waits for the
transaction, and it finds what they did before it. So a line has a job in the database or it waits, and no key
is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.batch_money import Means, affordable
from imagequeue.domain.batch_progress import state_for
from imagequeue.domain.batches import (
    OPEN_BATCHES,
    RESUMED_BY_HAND,
    BatchState,
    LineError,
    LineState,
    PauseReason,
)
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InsufficientBalance
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.expand.read_lines import PreparedLine
from imagequeue.lifecycle.submit.submission import Accepted, Submission
from imagequeue.lifecycle.submit.submit import SubmitOutcome, accept
from imagequeue.runtime import Runtime
from imagequeue.store.batches import control, expansion
from imagequeue.store.batches.control import BatchRow
from imagequeue.store.batches.counters import LineChange, move_lines
from imagequeue.store.batches.expansion import ExpandableFlow
from imagequeue.store.database import at_most
from imagequeue.store.money.ledger import lock_available

STATEMENT_SECONDS = 5.0
LOCK_SECONDS = 1.0
"""What a turn waits for a lock, before the flow is left to the next pass."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of a turn: how many lines have moved, and what the next one lacks.

    `is_known` is False where another dispatcher expands the flow, or its batch stopped meanwhile.
    """

    moved: int = 0
    lacking: frozenset[PauseReason] = frozenset()
    is_known: bool = True


NOT_OURS = Turn(is_known=False)


def take(runtime: Runtime, catalog: Catalog, flow: ExpandableFlow, lines: Sequence[PreparedLine]) -> Turn:
    """Make jobs of lines, strictly in their order, while they can be paid for at the catalog's prices.

    Raises:
        TooSlow: a lock was not free in time; nothing has changed.
        DBAPIError: the database is away or refuses a line; nothing has changed.
    """
    with runtime.engine.begin() as connection:
        with at_most(connection, STATEMENT_SECONDS, lock_seconds=LOCK_SECONDS):
            if not expansion.take_turn(connection, flow.id):
                return NOT_OURS
            turn = _take(connection, runtime, catalog, flow, lines)
        failpoint("expand.before_commit")
    failpoint("expand.after_commit")
    return turn


def refuse(runtime: Runtime, flow: ExpandableFlow, number: int, message: str) -> None:
    """Fail a line that the database does not take."""
    failed = LineChange(
        flow.batch_id,
        number,
        LineState.WAITING,
        LineState.FAILED,
        error_code=LineError.INTERNAL.value,
        error_message=message,
    )
    with runtime.engine.begin() as connection:
        move_lines(connection, [failed])


def _take(
    connection: Connection,
    runtime: Runtime,
    catalog: Catalog,
    flow: ExpandableFlow,
    lines: Sequence[PreparedLine],
) -> Turn:
    still = expansion.lock_waiting(connection, flow.batch_id, [line.number for line in lines])
    lock = control.lock_batch if flow.state is BatchState.PAUSED else control.share_batch
    batch = lock(connection, flow.batch_id)
    if batch is None or not _goes_on(batch, flow):
        return NOT_OURS
    refused = [_refused(flow.batch_id, line) for line in lines if line.refusal and line.number in still]
    asked = [(line.number, line.submission) for line in lines if line.submission and line.number in still]
    prices = [_price(catalog, submission) for _, submission in asked]
    means = _means(connection, batch) if asked else Means(Decimal(0), None)
    count, lacking = affordable(prices, means)
    outcomes = accept(connection, runtime, catalog, [submission for _, submission in asked[:count]])
    changes = [
        _change(flow.batch_id, number, price, outcome)
        for (number, _), price, outcome in zip(asked, prices, outcomes, strict=False)
        if not isinstance(outcome, InsufficientBalance)
    ]
    if batch.state is BatchState.PAUSED and any(change.job_id for change in changes):
        control.set_reasons(connection, batch.id, state_for(lacking, len(changes)), lacking)
    moved = move_lines(connection, [*refused, *changes])
    return Turn(len(moved), lacking)


def _goes_on(batch: BatchRow, flow: ExpandableFlow) -> bool:
    """Whether its lines may become jobs. Shared, the row cannot be written: then it must not be paused."""
    if batch.state is BatchState.PAUSED and flow.state is not BatchState.PAUSED:
        return False
    return batch.state in OPEN_BATCHES and not batch.reasons & RESUMED_BY_HAND


def _means(connection: Connection, batch: BatchRow) -> Means:
    """What the batch may hold now: its sums are read under the wallet's lock, so they change no more."""
    available = lock_available(connection, batch.account_id)
    now = control.look_at_batch(connection, batch.id) or batch
    budget = now.budget_usd
    left = None if budget is None else budget - now.spent_usd - now.held_usd
    return Means(available - now.keep_available_usd, left)


def _price(catalog: Catalog, submission: Submission) -> Decimal:
    return catalog.model(submission.request.model_id).price_usd * submission.request.image_count


def _refused(batch_id: UUID, line: PreparedLine) -> LineChange:
    return _failed(batch_id, line.number, line.refusal or "", line.code)


def _failed(batch_id: UUID, number: int, message: str, code: LineError) -> LineChange:
    states = LineState.WAITING, LineState.FAILED
    return LineChange(batch_id, number, *states, error_code=code.value, error_message=message)


def _change(batch_id: UUID, number: int, price: Decimal, outcome: SubmitOutcome) -> LineChange:
    if not isinstance(outcome, Accepted):
        return _failed(batch_id, number, outcome.message, LineError.INVALID_REQUEST)
    queued = LineState.QUEUED
    return LineChange(batch_id, number, LineState.WAITING, queued, job_id=outcome.job_id, held_usd=price)
