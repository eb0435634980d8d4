"""What can be paid: strictly in order, never more than there is."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.batch_money import Means, affordable
from imagequeue.domain.batches import PauseReason

USD = st.decimals(0, 5, places=2)


@given(prices=st.lists(USD, max_size=20), wallet=USD, budget=st.none() | USD)
def test_the_longest_beginning_that_fits_is_held_for(
    prices: list[Decimal], wallet: Decimal, budget: Decimal | None
) -> None:
    count, lacking = affordable(prices, Means(wallet, budget))
    bounds = {PauseReason.WALLET: wallet, PauseReason.BUDGET: budget}
    sums = [sum(prices[:length], Decimal(0)) for length in range(len(prices) + 1)]
    fits = [all(bound is None or total <= bound for bound in bounds.values()) for total in sums]
    assert all(fits[: count + 1])
    assert (count == len(prices)) == (not lacking)
    if lacking:
        short = {reason for reason, bound in bounds.items() if bound is not None and sums[count + 1] > bound}
        assert lacking == short


@given(prices=st.lists(USD, min_size=1), debt=st.decimals(-5, Decimal("-0.01"), places=2))
def test_a_budget_that_is_overdrawn_holds_for_nothing_not_even_what_is_free(
    prices: list[Decimal], debt: Decimal
) -> None:
    assert affordable(prices, Means(Decimal(100), debt)) == (0, {PauseReason.BUDGET})
