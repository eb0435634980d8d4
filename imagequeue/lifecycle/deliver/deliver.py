"""Deliver: claim webhooks that are due, post them, signed, through the egress guard, and record the attempts.

When a delivery is due is `next_attempt_at` in Postgres and nothing else. Every process that delivers claims
for itself, target by target (`claim.py`), as many as it has places free, in one transaction that also begins
the attempts under their fences. Threads make them (`attempt.py`) outside of any transaction, and what has
ended meanwhile is recorded together (`record.py`), provided that no other process has begun a later attempt.
Source: docs/design/webhooks.md, "Claim".
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain import webhooks
from imagequeue.domain.backoff import WEBHOOK_SIGNING
from imagequeue.domain.errors import ConfigurationError
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.deliver.attempt import Delivering, EndedAttempt
from imagequeue.lifecycle.deliver.claim import Claimed, claim
from imagequeue.lifecycle.deliver.record import Recording
from imagequeue.store import deliveries, webhook_targets
from imagequeue.store.database import one_statement
from imagequeue.store.deliveries import DeliveryTask

log = structlog.get_logger()

OVERDUE_AT_ONCE = 1000
"""Deliveries that one transaction ends by their age."""

OVERDUE_SECONDS = 10.0
"""Between two looks for them: their limit is days."""


@dataclass(slots=True)
class Deliveries:
    """Delivers with the threads of `pool`, at most `slots` webhooks at a time.

    A webhook has its place from the claim until its attempt is recorded. So what is in memory has a bound
    also while the database is away: attempts that cannot be recorded are kept, and nothing more is claimed.

    Only that, and where the scan of an account with very many targets goes on, is in memory; what is known of
    a target is in its row.

    `may_claim` is set when a place has become free and the last claim may have left something for want of
    one, `may_record` when an attempt has ended.
    """

    engine: Engine
    delivering: Delivering
    recording: Recording
    pool: Executor
    slots: int
    may_claim: threading.Event = field(default_factory=threading.Event)
    may_record: threading.Event = field(default_factory=threading.Event)
    _taken: int = 0
    _leaves_some: bool = True
    _ended: list[EndedAttempt] = field(default_factory=list[EndedAttempt])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _after: Mapping[UUID, str] = field(default_factory=dict[UUID, str])

    def run_once(self) -> int:
        """Claim deliveries that are due, as many as there are places, and let threads begin; how many."""
        self._leaves_some = True  # a place that becomes free from here on may be one that the claim lacks
        free = self.slots - self._taken
        if free <= 0:
            return 0
        claimed = self._claim(free)
        self._leaves_some = claimed.leaves_some
        failpoint("deliver.claimed")
        with self._lock:
            self._taken += len(claimed.tasks)
        for task in claimed.tasks:
            self.pool.submit(self._deliver, task)
        return len(claimed.tasks)

    def lacks_places(self) -> bool:
        """Whether the last claim may have left something for want of a place."""
        return self._leaves_some

    def record_once(self) -> int:
        """Record the attempts that have ended, which frees their places; how many.

        Raises:
            SQLAlchemyError: the database is away; they are kept for the next call.
            Exception: a fault of ours; they are made again when their leases end.
        """
        with self._lock:
            ended, self._ended = self._ended, []
        if not ended:
            return 0
        try:
            self.recording.record(ended)
        except SQLAlchemyError:
            with self._lock:
                self._ended = ended + self._ended
            raise
        except Exception:
            self._free(len(ended))
            raise
        self._free(len(ended))
        return len(ended)

    def _claim(self, free: int) -> Claimed:
        with one_statement(self.engine) as connection:
            found = webhook_targets.scan(connection, self._after)
        self._after = found.cut
        if not found.due:
            return Claimed([], leaves_some=bool(found.cut))
        with self.engine.begin() as connection:
            return claim(connection, found, free)

    def _deliver(self, task: DeliveryTask) -> None:
        """Make one attempt, in a thread of the pool. Its end is kept until it is recorded."""
        try:
            ended = self.delivering.attempt(task)
        except ConfigurationError as error:
            log.warning("delivery_postponed", delivery_id=str(task.id), reason=error.message)
            self._lease_back(task)
        except Exception as error:  # noqa: BLE001  # a fault of ours; it is made again when its lease ends
            log.error("delivery_failed", delivery_id=str(task.id), reason=type(error).__name__)  # noqa: TRY400
            self._free(1)
        else:
            failpoint("deliver.sent")
            with self._lock:
                self._ended.append(ended)
            self.may_record.set()

    def _lease_back(self, task: DeliveryTask) -> None:
        try:
            with self.engine.begin() as connection:
                deliveries.lease_back(connection, task, WEBHOOK_SIGNING.first_seconds)
        except SQLAlchemyError as error:  # then it is due when its lease ends
            log.warning("lease_kept", delivery_id=str(task.id), reason=type(error).__name__)
        finally:
            self._free(1)

    def _free(self, places: int) -> None:
        with self._lock:
            self._taken -= places
        if self._leaves_some:
            self.may_claim.set()


def end_overdue(engine: Engine, schedule: Sequence[float]) -> int:
    """Let deliveries be DEAD that are older than the schedule can explain; how many."""
    with one_statement(engine) as connection:
        return deliveries.end_overdue(connection, webhooks.age_limit(schedule), OVERDUE_AT_ONCE)
