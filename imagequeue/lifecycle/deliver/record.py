"""Record delivery attempts, as many as have ended, by one statement.

Most attempts change nothing that is known of their targets. Where one does, the row of its target is written
in the same transaction: the targets are locked first and the deliveries after them, each sorted, so that no
two processes wait for each other.

An attempt whose fence is not the delivery's any more changes nothing, not even its target: another process
has begun a later one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from imagequeue.domain import webhooks
from imagequeue.domain.webhook_targets import AttemptEffect, TargetState, after_attempt, is_news
from imagequeue.domain.webhooks import Action
from imagequeue.lifecycle.deliver.attempt import EndedAttempt
from imagequeue.store import deliveries, webhook_targets
from imagequeue.store.database import separate_statements
from imagequeue.store.deliveries import DeliveryRecord
from imagequeue.store.webhook_targets import TargetKey

log = structlog.get_logger()

_STATES = {Action.DELIVERED: "DELIVERED", Action.DEAD: "DEAD", Action.RETRY: "PENDING"}

_Effects = Mapping[TargetKey, Sequence[AttemptEffect]]


@dataclass(frozen=True, slots=True)
class Recording:
    """Records attempts. `schedule` has the seconds before each one, counted from the one before."""

    engine: Engine
    schedule: Sequence[float]
    random: Random = field(default_factory=Random)

    def record(self, ended: Sequence[EndedAttempt]) -> None:
        """Record attempts. One that the database does not take spoils no other: it is logged, and left.

        Raises:
            SQLAlchemyError: the database is away; nothing is recorded, and the call may be repeated.
        """
        try:
            self._record(ended)
        except (DataError, IntegrityError, ProgrammingError) as error:
            if len(ended) == 1:
                # It is made again when its lease ends: at least once.
                lost, reason = str(ended[0].task.id), type(error).__name__
                log.error("delivery_unrecorded", delivery_id=lost, reason=reason)  # noqa: TRY400
                return
            for one in ended:
                self.record([one])

    def _record(self, ended: Sequence[EndedAttempt]) -> None:
        records = [self._record_of(one) for one in ended]
        with separate_statements(self.engine) as connection:
            news = self._news(connection, _effects(ended))
            recorded = None if news else deliveries.record_attempts(connection, records)
        if recorded is None:
            with self.engine.begin() as connection:
                recorded = self._record_with_news(connection, ended, records, news)
        for one, record in zip(ended, records, strict=True):
            if one.task.id in recorded:
                state, outcome = record.state, one.made.outcome
                log.info("delivery_tried", delivery_id=str(one.task.id), outcome=outcome, state=state)

    def _record_with_news(
        self,
        connection: Connection,
        ended: Sequence[EndedAttempt],
        records: Sequence[DeliveryRecord],
        news: Sequence[TargetKey],
    ) -> set[UUID]:
        """Record attempts of which some change what is known of their targets."""
        known = webhook_targets.lock_known(connection, news)
        recorded = deliveries.record_attempts(connection, records)
        effects = _effects(one for one in ended if one.task.id in recorded)
        for key in known.keys() & effects.keys():
            webhook_targets.write(connection, key, self._after(known[key], effects[key]))
        return recorded

    def _record_of(self, ended: EndedAttempt) -> DeliveryRecord:
        task, action, due = ended.task, ended.outcome.action, None
        if action is Action.RETRY:
            due = self._next_attempt_at(ended)
        exhausted = action is Action.RETRY and due is None
        return DeliveryRecord(task, ended.made, "DEAD" if exhausted else _STATES[action], due)

    def _next_attempt_at(self, ended: EndedAttempt) -> datetime | None:
        task = ended.task
        return webhooks.next_attempt_at(
            self.schedule,
            task.attempt_count + 1 - task.schedule_from,
            task.now,
            jitter=self.random.random(),
            pause_until=ended.outcome.pause_until,
        )

    def _news(self, connection: Connection, effects: _Effects) -> list[TargetKey]:
        """The targets whose rows the attempts change: of most they change nothing, so they are only read."""
        known = webhook_targets.read(connection, list(effects))
        return [key for key, of_target in effects.items() if self._tells(known.get(key), of_target)]

    def _tells(self, state: TargetState | None, effects: Sequence[AttemptEffect]) -> bool:
        known = state or TargetState()
        for effect in effects:
            after = after_attempt(known, effect, self.random)
            if is_news(known, after, effect):
                return True
            known = after
        return False

    def _after(self, state: TargetState, effects: Sequence[AttemptEffect]) -> TargetState:
        for effect in effects:
            state = after_attempt(state, effect, self.random)
        return state


def _effects(ended: Iterable[EndedAttempt]) -> _Effects:
    """What attempts showed about their targets, those of a target in the order in which they ended."""
    effects = defaultdict[TargetKey, list[AttemptEffect]](list)
    for one in ended:
        seconds, answered = one.made.latency_ms / 1000, one.made.http_status is not None
        effects[one.task.target_key].append(AttemptEffect(one.outcome, seconds, answered, one.task.now))
    return effects
