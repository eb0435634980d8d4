"""What of a batch's next lines can be paid (docs/design/backfills.md, "Money"). Amounts are in USD."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from imagequeue.domain.batches import PauseReason


@dataclass(frozen=True, slots=True)
class Means:
    """What a batch may still hold: `wallet` of its account's wallet, `budget` of its own; None: no bound."""

    wallet: Decimal
    budget: Decimal | None

    def lacking(self, price: Decimal) -> frozenset[PauseReason]:
        """What does not suffice for one more line."""
        lacking = set[PauseReason]()
        if price > self.wallet:
            lacking.add(PauseReason.WALLET)
        if self.budget is not None and price > self.budget:
            lacking.add(PauseReason.BUDGET)
        return frozenset(lacking)

    def after(self, price: Decimal) -> Means:
        """What is left when a line is held for."""
        return Means(self.wallet - price, None if self.budget is None else self.budget - price)


def affordable(prices: Iterable[Decimal], means: Means) -> tuple[int, frozenset[PauseReason]]:
    """How many lines from the first on can be held for, and what stops the next one.

    A line that does not fit ends it: a cheaper one behind it never overtakes.
    """
    count = 0
    for price in prices:
        if lacking := means.lacking(price):
            return count, lacking
        count, means = count + 1, means.after(price)
    return count, frozenset()
