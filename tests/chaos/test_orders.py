"""What the clients of a run ask for, and which deployments can serve it."""

from __future__ import annotations

import tomllib
from collections import Counter
from random import Random

import pytest

from chaos.orders import POISON_UNTIL, Order, orders
from chaos.upstreams import DEPLOYMENTS, KEY, KEY_VARIABLE, MODEL, catalog
from chaos.waiting_kinds import KINDS
from chaos.weather import FIREWALLED, ODD, POISON
from imagequeue.dialects.dialect import ClientRequest, Dialect, DialectRoute, SubmittedBody
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.lifecycle.submit.routing import refusal
from imagequeue.providers.registry import PROVIDERS


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


def test_clients_of_every_kind_wait_and_some_hang_up() -> None:
    asked = ask(2000, 270)
    waiting = [order for order in asked if order.waiting]
    assert {order.waiting for order in waiting} == set(KINDS)
    assert all(order.images <= KINDS[order.waiting].most_images for order in waiting)
    assert not any(order.cancel for order in waiting)
    assert 20 < sum(order.leaves is not None for order in waiting) < len(waiting) / 2
    assert not any(order.leaves for order in asked if not order.waiting)


@pytest.mark.parametrize("name", KINDS)
def test_a_clients_jobs_can_be_served_by_the_deployments_that_the_checker_thinks(name: str) -> None:
    kind = KINDS[name]
    known = parse_catalog(tomllib.loads(catalog("http://127.0.0.1:1")), {KEY_VARIABLE: KEY}, PROVIDERS)
    dialect, route, parameters = routed(kind.path)
    asked = ClientRequest(route, parameters, {}, {}, "http://127.0.0.1:1")
    body = SubmittedBody("json", kind.fields("a fox", kind.most_images))
    request = dialect.read(asked, body, known).request
    assert (request.prompt, request.image_count) == ("a fox", kind.most_images)
    deployments = known.deployments_of(MODEL)
    assert {one.name for one in deployments} == DEPLOYMENTS
    assert {one.name for one in deployments if not refusal(one, request.requirement)} == kind.serving


def routed(path: str) -> tuple[Dialect, DialectRoute, dict[str, str]]:
    """Who serves a POST to a path, and the path's parameters."""
    found = [
        (dialect, route, parameters)
        for dialect, route in DIALECTS.routes()
        if route.method == "POST" and (parameters := route.match(path)) is not None
    ]
    return found[0]
