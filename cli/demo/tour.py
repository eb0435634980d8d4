"""The tour: every upstream of a model makes an image, and edits one if it can.

No client asks for an upstream. Jobs that wait at the same time start on all deployments of the model at once
(`imagequeue/lifecycle/dispatch/balance.py`), so a burst of as many jobs as there are upstreams meets each of
them. What was not met, because jobs came a moment too late for that, is looked for in another round, with
more jobs.
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
LARGEST = 3
"""A round has up to so many jobs for each upstream."""
_ORDERS: dict[Operation, Order] = {
    "generate": Order(MODEL, "1:1", "A harbour in the morning, by every upstream"),
    "edit": Order(MODEL, "auto", "The same hills by night, by every upstream", edit=True),
}

Stop = tuple[Operation, str]
"""An operation, and the deployment that shall serve it."""


def stops(catalog: Path) -> set[Stop]:
    """What the deployments of the model can do."""
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
    """Where an order was served."""
    return ("edit" if order.edit else "generate"), deployment


def _requirement(operation: Operation, order: Order) -> Requirement:
    return Requirement(operation, Shape.parse(order.ratio), input_count=int(order.edit))
