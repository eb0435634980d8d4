"""What a person does with a batch: pause, resume, cancel, retry, give up, change its terms.

Each is one short transaction, whatever the batch's size; what takes many steps (lines that end or wait again)
is done by the supervision afterwards (`supervise.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from imagequeue.domain.batches import (
    ENDED_BATCHES,
    OPEN_BATCHES,
    RESUMED_BY_HAND,
    BatchState,
    PauseReason,
)
from imagequeue.domain.errors import AlreadyFinal, InvalidRequest, NotFound
from imagequeue.lifecycle.supervise.reasons import Reasons
from imagequeue.store.batches import control, steps
from imagequeue.store.batches.control import BatchRow
from imagequeue.store.jobs.flows import follow_batch

_OF_FAILURES = frozenset({PauseReason.FAILURE_RATE, PauseReason.UNKNOWN_OUTCOMES})

_NOTHING_ASKED = {"retry_to": None, "retry_codes": None, "give_up_to": None}


@dataclass(frozen=True, slots=True)
class BatchChange:
    """New terms of a batch that runs; None: as they are. Amounts in USD, `weight` from 1 to 1000.

    `no_budget` takes the budget away, `no_webhook` the URL.
    """

    weight: int | None = None
    budget_usd: Decimal | None = None
    keep_available_usd: Decimal | None = None
    max_failure_rate: float | None = None
    webhook_url: str | None = None
    no_budget: bool = False
    no_webhook: bool = False

    def terms(self) -> dict[str, Any]:
        """The columns that change."""
        given: dict[str, Any] = {
            one.name: getattr(self, one.name) for one in fields(self) if not one.name.startswith("no_")
        }
        changed = {name: value for name, value in given.items() if value is not None}
        changed |= {"budget_usd": None} if self.no_budget else {}
        return changed | ({"webhook_url": None} if self.no_webhook else {})


@dataclass(frozen=True, slots=True)
class BatchControl:
    """The verbs. Each raises NotFound for a batch that the account does not have.

    `wake` is called after a commit that leaves something to do.
    """

    engine: Engine
    reasons: Reasons
    wake: Callable[[], None] = lambda: None

    def pause(self, account_id: UUID, batch_id: UUID) -> None:
        """Let no call of the batch begin from the commit on; calls that were sent are finished and kept.

        Raises:
            AlreadyFinal: the batch has ended, or is ending.
        """
        with self._locked(account_id, batch_id, OPEN_BATCHES) as (connection, batch):
            self.reasons.set(connection, batch, batch.reasons | {PauseReason.OPERATOR})

    def resume(self, account_id: UUID, batch_id: UUID) -> None:
        """Let it go on, whatever paused it; a limit of first lines is over, and the brake begins anew.

        Raises:
            AlreadyFinal: the batch has ended, or is ending.
        """
        with self._locked(account_id, batch_id, OPEN_BATCHES) as (connection, batch):
            control.set_terms(connection, batch.id, {"line_limit": None, "brake_from": batch.finished})
            self.reasons.set(connection, batch, batch.reasons - RESUMED_BY_HAND)

    def cancel(self, account_id: UUID, batch_id: UUID) -> None:
        """Let no call begin from the commit on; what was paid for is kept. Cancelling again changes nothing.

        Raises:
            AlreadyFinal: the batch has ended otherwise, or all of its lines have.
        """
        live = {*OPEN_BATCHES, BatchState.VALIDATING, BatchState.CANCELLING}
        with self._locked(account_id, batch_id, live) as (connection, batch):
            if batch.state is not BatchState.CANCELLING:
                control.set_terms(connection, batch.id, _NOTHING_ASKED)
                control.move_batch(connection, batch.id, BatchState.CANCELLING)
                follow_batch(connection, batch.id)

    def retry(self, account_id: UUID, batch_id: UUID, codes: Sequence[str] | None = None) -> None:
        """Let the lines that failed by now wait again, in the same batch; one that is completed runs again.

        Of a completed batch without such lines nothing changes.

        Args:
            account_id: whose batch it is.
            batch_id: the batch.
            codes: errors of the lines that are meant, of which some may be unknown; None: all that failed.

        Raises:
            AlreadyFinal: the batch was cancelled, has expired or failed, or is ending.
        """
        with self._locked(account_id, batch_id, {*OPEN_BATCHES, BatchState.COMPLETED}) as (connection, batch):
            terms = {"retry_to": batch.finished, "retry_codes": _listed(codes), "brake_from": batch.finished}
            if batch.state is BatchState.COMPLETED:
                if not steps.has_failed(connection, batch.id, batch.finished, codes):
                    return
                control.move_batch(connection, batch.id, BatchState.IN_PROGRESS)
                follow_batch(connection, batch.id)
            else:
                self.reasons.set(connection, batch, batch.reasons - _OF_FAILURES)
            control.set_terms(connection, batch.id, terms)

    def give_up(self, account_id: UUID, batch_id: UUID) -> None:
        """Let the lines whose outcome is unknown by now fail.

        Raises:
            AlreadyFinal: the batch has ended, or is ending.
        """
        with self._locked(account_id, batch_id, OPEN_BATCHES) as (connection, batch):
            control.set_terms(connection, batch.id, {"give_up_to": batch.finished})

    def change(self, account_id: UUID, batch_id: UUID, change: BatchChange) -> None:
        """Change the terms of a batch; they count from the next turn, line and call on.

        Raises:
            InvalidRequest: nothing is to be changed.
            AlreadyFinal: the batch has ended, or is ending.
        """
        terms = change.terms()
        if not terms:
            raise InvalidRequest("Nothing is to be changed")
        with self._locked(account_id, batch_id, {*OPEN_BATCHES, BatchState.VALIDATING}) as (
            connection,
            batch,
        ):
            control.set_terms(connection, batch.id, terms)
            if change.weight is not None:
                follow_batch(connection, batch.id)

    @contextmanager
    def _locked(
        self, account_id: UUID, batch_id: UUID, states: set[BatchState] | frozenset[BatchState]
    ) -> Generator[tuple[Connection, BatchRow]]:
        with self.engine.begin() as connection:
            batch = control.lock_batch(connection, batch_id)
            if batch is None or batch.account_id != account_id:
                raise NotFound
            if batch.state not in states:
                ended = batch.state in ENDED_BATCHES
                raise AlreadyFinal(f"The batch {'is' if ended else 'is already'} {batch.state}")
            yield connection, batch
        self.wake()


def _listed(codes: Sequence[str] | None) -> list[str] | None:
    return None if codes is None else list(codes)
