"""The events that an account's endpoints are told of, and what they are told.

Source: docs/design/webhooks.md, "Endpoints".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.jobs import JobStatus

REQUEST_EVENTS: Final = {
    JobStatus.COMPLETED: "request.completed",
    JobStatus.FAILED: "request.failed",
    JobStatus.ERROR: "request.error",
}
"""The event of each final status."""

BATCH_EVENTS: Final = (
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    "batch.paused",
)
"""The end of a batch, and each of its pauses."""

EVENT_TYPES: Final = (*REQUEST_EVENTS.values(), *BATCH_EVENTS)

WILDCARDS: Final = ("request.*", "batch.*")
"""Filters that stand for every type with such a beginning."""

MOST_ENDPOINTS: Final = 20
"""Of an account: each is a delivery for every job."""


def require_event_types(given: Sequence[str]) -> list[str]:
    """The types that an endpoint asks for, each once, wildcards as they are.

    Raises:
        InvalidRequest: there is none, or one that does not exist.
    """
    unknown = [one for one in given if one not in EVENT_TYPES and one not in WILDCARDS]
    if unknown or not given:
        known = ", ".join((*EVENT_TYPES, *WILDCARDS))
        raise InvalidRequest(f"event_types must be one or more of {known}")
    return list(dict.fromkeys(given))


def filters_of(event_type: str) -> tuple[str, str]:
    """What an endpoint must have asked for to be told of an event: its type, or the wildcard."""
    return event_type, f"{event_type.partition('.')[0]}.*"


def wants(filters: Collection[str], event_type: str) -> bool:
    """Whether an endpoint with these filters is told of an event."""
    return not set(filters).isdisjoint(filters_of(event_type))


def event_body(event_id: str, event_type: str, at: datetime, data: str) -> str:
    """The event as JSON; `data` is JSON already, and stands in it as it is. Times are Unix seconds."""
    head = json.dumps(
        {"id": event_id, "object": "event", "type": event_type, "created_at": int(at.timestamp())},
        separators=(",", ":"),
    )
    return f'{head[:-1]},"data":{data}}}'
