"""Delivery attempts that are made when a test says so, in the thread of the test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from imagequeue import wiring
from imagequeue.lifecycle.deliver.deliver import Deliveries
from imagequeue.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt whose delivery is claimed; `make` makes it."""

    delivery_id: UUID
    make: Callable[[], object]


@dataclass
class ByHand(Executor):
    """Threads that do nothing by themselves. `begun` has what they would do, in its order."""

    begun: list[Begun] = field(default_factory=list[Begun])

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.begun.append(Begun(args[0].id, lambda: fn(*args, **kwargs)))
        return Future()


def deliver_due(deliveries: Deliveries, pool: ByHand) -> int:
    """Claim what is due, make the attempts one after the other, record each; how many."""
    count = deliveries.run_once()
    while pool.begun:
        pool.begun.pop(0).make()
        deliveries.record_once()
    return count


def deliver_once(runtime: Runtime) -> int:
    """The same, by a process of its own."""
    pool = ByHand()
    return deliver_due(wiring.deliveries(runtime, pool, 64), pool)
