"""The orders of the clients: what is submitted, when, by whom and in which way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from chaos.waiting_kinds import KINDS
from chaos.weather import FIREWALLED, ODD, POISON

WEBHOOK_SHARE = 0.6
CANCEL_SHARE = 0.04
STRANGERS_SHARE = 0.2
"""Of the submits come from a second account, and all those that every firewall refuses."""
FIREWALLED_SHARE, ODD_SHARE = 0.03, 0.01
"""Of the prompts are refused by some firewalls, and by the upstreams."""
POISON_PERIOD, POISON_UNTIL = 20, 0.1
"""Every 20th prompt of the first tenth is refused by all firewalls: it takes over two minutes to give up."""
WAITING_SHARE = 0.25
"""Of the submits wait for their final job: about two begin each second, and hundreds wait in a backlog."""
LEAVING_SHARE, LEAVING_SECONDS = 0.15, (0.02, 3.0)
"""Of those that wait hang up once, after so many seconds: before the submit is accepted, or after it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One submit that a client is to make; `due` is in seconds after the start of the run.

    `waiting` names one of `KINDS`: the client waits for the final job. Without it the answer is the job's id.
    `leaves` are the seconds after which a client that waits hangs up, the first time that it asks.
    """

    number: int
    due: float
    key: str
    prompt: str
    images: int
    lane: str
    webhook: bool
    cancel: bool
    account: int = 0
    waiting: str = ""
    leaves: float | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where orders go: the API, a key for each account, and the URL for the webhook of an order's number."""

    url: str
    api_keys: Sequence[str]
    webhook_url: Callable[[int], str]

    def headers(self, order: Order) -> dict[str, str]:
        """The headers of a submit, without the API key."""
        headers = {"Idempotency-Key": order.key, "X-Lane": order.lane}
        return headers | ({"X-Webhook-URL": self.webhook_url(order.number)} if order.webhook else {})


def orders(random: Random, seed: int, count: int, seconds: float) -> list[Order]:
    """The submits of a run, spread evenly over `seconds`."""
    return [_order(random, seed, number, count, number * seconds / count) for number in range(count)]


def _order(random: Random, seed: int, number: int, count: int, due: float) -> Order:
    waiting = random.choice(sorted(KINDS)) if random.random() < WAITING_SHARE else ""
    leaves = random.uniform(*LEAVING_SECONDS) if random.random() < LEAVING_SHARE else None
    images = random.choices((1, 2, 3, 4), (85, 6, 4, 5))[0]
    return Order(
        number=number,
        due=due,
        key=f"chaos-{seed}-{number}",
        prompt=f"chaos {seed} job {number:06d}{_word(random, number, count)}",
        images=min(images, KINDS[waiting].most_images) if waiting else images,
        lane=random.choice(("interactive", "backfill")),
        webhook=random.random() < WEBHOOK_SHARE,
        cancel=random.random() < CANCEL_SHARE and not waiting,
        account=int(_is_poison(number, count) or random.random() < STRANGERS_SHARE),
        waiting=waiting,
        leaves=leaves if waiting else None,
    )


def _is_poison(number: int, count: int) -> bool:
    return number < count * POISON_UNTIL and number % POISON_PERIOD == POISON_PERIOD - 1


def _word(random: Random, number: int, count: int) -> str:
    """The word of a prompt that some upstream, or something before it, refuses."""
    if _is_poison(number, count):
        return f" {POISON}"
    drawn = random.random()
    if drawn < FIREWALLED_SHARE:
        return f" {FIREWALLED}"
    return f" {ODD}" if drawn < FIREWALLED_SHARE + ODD_SHARE else ""
