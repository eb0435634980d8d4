"""One pass of the dispatcher: which due deliveries begin now (docs/design/webhooks.md, "Claim").

Targets with due deliveries are found first, then their rows are locked, and only then, in further statements
that see what was committed before the lock, the leases are counted and deliveries are leased. So no two
dispatchers count the same places of a target. The caps of an account and of all may be passed by a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.webhook_targets import TargetState
from imagequeue.lifecycle.deliver.allotment import Allotment, DueTarget, Lease
from imagequeue.store import deliveries, webhook_targets
from imagequeue.store.deliveries import ClaimedDelivery, DueDelivery
from imagequeue.store.webhook_targets import TargetKey

TARGETS_AT_ONCE: Final = 100
"""Targets that one pass locks and looks into, so that its locks are held for milliseconds."""


@dataclass(frozen=True, slots=True)
class Places:
    """What may begin in a pass: `slots` of the live workers, and the doorbells that wait in Redis.

    At most `most_waiting` doorbells may wait there.
    """

    slots: int
    waiting: int
    most_waiting: int


def claim(connection: Connection, found: Sequence[TargetKey], places: Places) -> list[ClaimedDelivery]:
    """Lease due deliveries of the targets that were found, in the order of their turns."""
    leases = deliveries.leases(connection)
    if _free(places, leases) <= 0:
        return []
    locked = webhook_targets.lock(connection, _account_by_account(found)[:TARGETS_AT_ONCE])
    leases = deliveries.leases(connection)
    in_flight = {one.key: one.in_flight for one in leases}
    limits = {key: _limit(state) for key, state in locked.items()}
    most = {key: limit - in_flight.get(key, 0) for key, limit in limits.items()}
    due = deliveries.due(connection, {key: count for key, count in most.items() if count > 0})
    due = _without_waiting(due, deliveries.rung(connection) - places.waiting)
    allotment = Allotment(places.slots, _free(places, leases))
    chosen = allotment.choose([_lease(one) for one in leases], _targets(locked, limits, due))
    if not chosen:
        return []
    begun = set(chosen)
    served = {one.key for one in due if one.id in begun}
    webhook_targets.serve(connection, [key for key in locked if key in served])
    return deliveries.lease(connection, chosen)


def _account_by_account(found: Sequence[TargetKey]) -> list[TargetKey]:
    """One target of each account, then a second one of each.

    A client may name a host of its own for each job. By their turns alone its targets would fill every pass.
    """
    rounds, counted = dict[TargetKey, int](), Counter[UUID]()
    for key in found:
        rounds[key] = counted[key[0]]
        counted[key[0]] += 1
    return sorted(found, key=rounds.__getitem__)


def _free(places: Places, leases: Sequence[deliveries.LeasesOfTarget]) -> int:
    """A doorbell that waits in Redis will want a place, also if its lease has ended: another may be sent."""
    begun = sum(one.begun for one in leases)
    rung = sum(one.in_flight for one in leases) - begun
    return min(places.slots - begun - max(rung, places.waiting), places.most_waiting - places.waiting)


def _limit(state: TargetState) -> int:
    return 1 if state.half_open else state.limit


def _without_waiting(due: Sequence[DueDelivery], lost: int) -> list[DueDelivery]:
    """Leave out deliveries whose doorbell may still wait in Redis: no more are rung again than are `lost`."""
    kept = list[DueDelivery]()
    for one in due:
        lost -= one.rung
        if not one.rung or lost >= 0:
            kept.append(one)
    return kept


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
