"""What the clients of a run ask for."""

from __future__ import annotations

from collections import Counter
from random import Random

from chaos.load import POISON_UNTIL, Order, orders
from chaos.weather import FIREWALLED, ODD, POISON


def ask(count: int, seconds: float) -> list[Order]:
    return orders(Random(7), 7, count, seconds)  # noqa: S311  # a seed shall repeat


def test_the_same_seed_asks_for_the_same() -> None:
    assert ask(200, 30) == ask(200, 30)


def test_prompts_that_firewalls_refuse_are_few_and_those_that_nothing_serves_come_early() -> None:
    asked = ask(2000, 270)
    words = Counter(order.prompt.split()[-1] for order in asked)
    assert 0 < words[ODD] < words[FIREWALLED] < 100
    poison = [order for order in asked if POISON in order.prompt]
    assert len(poison) == 10
    assert {order.account for order in poison} == {1}
    assert max(order.due for order in poison) < 270 * POISON_UNTIL
    assert {order.account for order in asked if POISON not in order.prompt} == {0, 1}
