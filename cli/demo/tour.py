"""The tour: every upstream of a model makes an image, and edits one if it can.

A client cannot choose an upstream. But jobs that wait at the same time start on all deployments of the model
(`imagequeue/lifecycle/dispatch/plan.py`), so a round of as many jobs as there are upstreams usually reaches
each of them. If one was not reached, because jobs came a moment too late, another round with more jobs
follows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

from cli.demo.orders import Order
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.domain.images import Operation, Requirement, Shape
from imagequeue.lifecycle.submit.routing import refusal
from imagequeue.providers.registry import PROVIDERS

MODEL = "microsoft-mai-image-2-5"
ROUNDS = 12
"""The most rounds, until the tour has failed."""
LARGEST = 3
"""The most jobs for each upstream in one round."""
_ORDERS: dict[Operation, Order] = {
    "generate": Order(MODEL, "1:1", "A harbour in the morning, by every upstream"),
    "edit": Order(MODEL, "auto", "The same hills by night, by every upstream", edit=True),
}

Stop = tuple[Operation, str]
"""An operation, and the deployment that shall serve it."""


def stops(catalog: Path) -> set[Stop]:
    """Each operation of each deployment of the model."""
    tables = tomllib.loads(catalog.read_text("utf-8"))
    keys = {str(entry.get("key_env")): "unused" for entry in tables["deployments"]}
    deployments = parse_catalog(tables, keys, PROVIDERS).deployments_of(MODEL)
    return {
        (operation, deployment.name)
        for operation, order in _ORDERS.items()
        for deployment in deployments
        if refusal(deployment, _requirement(operation, order)) is None
    }


def round_of(number: int, every: Collection[Stop], missing: Collection[Stop]) -> Iterator[Order]:
    """The jobs of a round (counted from 1): of each operation that misses a stop, as many as it has stops."""
    for operation, order in _ORDERS.items():
        if any(one == operation for one, _ in missing):
            stops_of_it = sum(one == operation for one, _ in every)
            yield from [order] * (stops_of_it * min(number, LARGEST))


def stop_of(order: Order, deployment: str) -> Stop:
    """The stop at which an order was served."""
    return ("edit" if order.edit else "generate"), deployment


def _requirement(operation: Operation, order: Order) -> Requirement:
    return Requirement(operation, Shape.parse(order.ratio), input_count=int(order.edit))
