"""Which due deliveries get the free worker slots: pure, for one pass of the dispatcher.

Every target gets one delivery after the other in turn, the one that was served longest ago first, until one
of the caps stops it:

- of a target: its limit; one, while its breaker is half-open;
- of an account: 32 in flight, or half of all slots if that is less;
- of all targets that failed last or are slow: half of all slots;
- of the targets of one account that are not known to work: a quarter of all slots. So black holes, however
  many, never take the slots of the healthy;
- first attempts go before retries, but a tenth of the slots is kept for retries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from imagequeue.store.webhook_targets import TargetKey

MOST_OF_AN_ACCOUNT: Final = 32
"""Delivery attempts in flight for one account."""

_RETRY_SHARE: Final = 10
"""One of so many worker slots is kept for retries."""


@dataclass(frozen=True, slots=True)
class DueTarget:
    """A target that may be served, and its due deliveries: the first attempts and the retries, oldest first.

    `limit` is how many attempts may be in flight for it. `proven`: it answers, and well.
    """

    key: TargetKey
    limit: int
    troubled: bool
    proven: bool
    firsts: list[UUID]
    retries: list[UUID]


@dataclass(frozen=True, slots=True)
class Lease:
    """How many attempts are in flight for a target, and how many of them are retries."""

    key: TargetKey
    troubled: bool
    proven: bool
    count: int
    retries: int


@dataclass(slots=True)
class Allotment:
    """Counts what is in flight while a pass hands out places.

    `slots` are those that the live workers have for deliveries; `places` is how many may begin in this pass.
    """

    slots: int
    places: int
    by_target: Counter[TargetKey] = field(default_factory=Counter[TargetKey])
    by_account: Counter[UUID] = field(default_factory=Counter[UUID])
    troubled: int = 0
    unproven: Counter[UUID] = field(default_factory=Counter[UUID])

    def choose(self, leases: Iterable[Lease], targets: Sequence[DueTarget]) -> list[UUID]:
        """The deliveries to lease now, of targets in the order of their turns."""
        retries_in_flight = 0
        for lease in leases:
            self._count(lease, lease.count)
            retries_in_flight += lease.retries
        first = {target.key: list(target.firsts) for target in targets}
        again = {target.key: list(target.retries) for target in targets}
        kept = max(0, -(-self.slots // _RETRY_SHARE) - retries_in_flight)
        kept = min(kept, sum(map(len, again.values())))
        chosen = self._rounds(targets, again, min(kept, self.places))
        chosen += self._rounds(targets, first, self.places)
        return chosen + self._rounds(targets, again, self.places)

    def _rounds(
        self, targets: Sequence[DueTarget], waiting: Mapping[TargetKey, list[UUID]], most: int
    ) -> list[UUID]:
        """Take one of each target in turn, at most `most` in all."""
        chosen = list[UUID]()
        left = list(targets)
        while left and len(chosen) < most:
            left = [target for target in left if waiting[target.key] and self._admits(target)]
            for target in left[: most - len(chosen)]:
                if self._admits(target):
                    chosen.append(waiting[target.key].pop(0))
                    self._count(target, 1)
        self.places -= len(chosen)
        return chosen

    def _admits(self, target: DueTarget) -> bool:
        account, half, quarter = target.key[0], max(1, self.slots // 2), max(1, self.slots // 4)
        return (
            self.by_target[target.key] < target.limit
            and self.by_account[account] < min(MOST_OF_AN_ACCOUNT, half)
            and (not target.troubled or self.troubled < half)
            and (target.proven or self.unproven[account] < quarter)
        )

    def _count(self, served: DueTarget | Lease, count: int) -> None:
        self.by_target[served.key] += count
        self.by_account[served.key[0]] += count
        self.troubled += count if served.troubled else 0
        self.unproven[served.key[0]] += 0 if served.proven else count
