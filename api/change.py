"""Changes that happen too seldom to be gathered: rotations, redeliveries, endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from api.bulkhead import isolated
from api.services import ApiServices
from imagequeue.runtime import Runtime

R = TypeVar("R")

LOCK_SECONDS = 0.25
"""What a change waits for a locked row at most: other accounts wait behind it."""


@isolated(what="changes", threads=2)
def change(services: ApiServices, work: Callable[[Runtime], R]) -> R:
    """Run a function that writes in a worker thread. It waits for locks no longer than `LOCK_SECONDS`."""
    return work(services.runtime)
