"""Which due deliveries begin now in this process, and their beginning (docs/design/webhooks.md, "Claim").

Targets with due deliveries are found first, then their rows are locked, and only then, in further statements
that see what was committed before the lock, the leases are counted and deliveries are begun. So no two
processes count the same places of a target. The shares of an account and of all may be passed by a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain import webhooks
from imagequeue.domain.webhook_targets import TargetState
from imagequeue.lifecycle.deliver.allotment import Allotment, DueTarget, Lease
from imagequeue.store import deliveries, webhook_targets
from imagequeue.store.deliveries import DeliveryTask, DueDelivery
from imagequeue.store.webhook_targets import Scan, TargetKey

TARGETS_AT_ONCE: Final = 100
"""Targets that one pass locks and looks into, so that its locks are held for milliseconds."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The deliveries that were begun. `leaves_some`: others may be due, for which no place was free."""

    tasks: Sequence[DeliveryTask]
    leaves_some: bool


def claim(connection: Connection, found: Scan, free: int) -> Claimed:
    """Begin due deliveries of the targets that were found, in the order of their turns, at most `free`."""
    asked = _account_by_account(found.due)[:TARGETS_AT_ONCE]
    webhook_targets.make(connection, [key for key in asked if key in found.unknown])
    locked = webhook_targets.lock(connection, asked)
    if not locked:
        return Claimed([], leaves_some=True)
    slots, leases = deliveries.leases(connection)
    if not slots:
        return Claimed([], leaves_some=True)
    in_flight = {one.key: one.in_flight for one in leases}
    limits = {key: _limit(state) for key, state in locked.items()}
    most = {key: max(0, min(free, limit - in_flight.get(key, 0))) for key, limit in limits.items()}
    due = deliveries.due(connection, {key: count for key, count in most.items() if count > 0})
    allotment = Allotment(slots, free)
    chosen = allotment.choose([_lease(one) for one in leases], _targets(locked, limits, due))
    served = {one.key for one in due if one.id in set(chosen)}
    webhook_targets.serve(connection, [key for key in locked if key in served])
    tasks = deliveries.begin_attempts(connection, chosen, webhooks.BLOCKED)
    is_all = len(locked) == len(found.due) and not found.cut and not _full(most, due)
    return Claimed(tasks, leaves_some=not (is_all and len(tasks) == len(due)))


def _full(most: Mapping[TargetKey, int], due: Sequence[DueDelivery]) -> bool:
    """Whether some target has, or may have, more deliveries that are due than were read."""
    read = Counter((one.key, one.retry) for one in due)
    return any(read[key, retry] == count for key, count in most.items() for retry in (False, True))


def _account_by_account(found: Sequence[TargetKey]) -> list[TargetKey]:
    """One target of each account, then a second one of each.

    A client may name a host of its own for each job. By their turns alone its targets would fill every pass.
    """
    rounds, counted = dict[TargetKey, int](), Counter[UUID]()
    for key in found:
        rounds[key] = counted[key[0]]
        counted[key[0]] += 1
    return sorted(found, key=rounds.__getitem__)


def _limit(state: TargetState) -> int:
    return 1 if state.half_open else state.limit


def _lease(one: deliveries.LeasesOfTarget) -> Lease:
    return Lease(one.key, one.state.troubled, one.state.proven, one.in_flight, one.retries)


def _targets(
    locked: Mapping[TargetKey, TargetState], limits: Mapping[TargetKey, int], due: Sequence[DueDelivery]
) -> list[DueTarget]:
    of = {key: DueTarget(key, limits[key], one.troubled, one.proven, [], []) for key, one in locked.items()}
    for delivery in due:
        target = of[delivery.key]
        (target.retries if delivery.retry else target.firsts).append(delivery.id)
    return list(of.values())
