"""What submits of all dialects share: their place in a bulk call, and threads for what they upload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from api.bulkhead import isolated
from api.coalescer import coalesced
from api.services import ApiServices
from imagequeue.domain.errors import ImagequeueError
from imagequeue.lifecycle.submit.submission import Accepted, Submission

R = TypeVar("R")

UPLOAD_THREADS = 4
"""How many submits may have their input images decoded and stored at a time; the others wait in line."""
UPLOAD_PATIENCE = 30.0
"""Seconds after which a submit with input images is told to try again."""


@coalesced(threads=2)
def accept(services: ApiServices, submissions: list[Submission]) -> Sequence[Accepted | ImagequeueError]:
    """Make submissions into durable jobs, all of them in one commit."""
    return services.submit(submissions)


@isolated(threads=UPLOAD_THREADS, patience=UPLOAD_PATIENCE)
def prepare_uploads(services: ApiServices, work: Callable[[], R]) -> R:
    """Do what decodes images and waits for the storage."""
    del services
    return work()
