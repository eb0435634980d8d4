"""The status body: what the status route answers and the webhook sends, byte for byte.

Source: docs/design/contract.md, "Status body".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from imagequeue.domain.ids import model_label, request_id
from imagequeue.domain.jobs import JobStatus


@dataclass(frozen=True, slots=True)
class Output:
    """The images of a completed job: their URLs in order, and the one media type of them all."""

    media_urls: Sequence[str]
    media_type: str


def status_body(  # noqa: PLR0913  # the document's fields
    *,
    job_id: UUID,
    model_id: str,
    operation: str,
    status: JobStatus,
    created_at: datetime,
    updated_at: datetime,
    completed_at: datetime | None = None,
    error: str | None = None,
    output: Output | None = None,
) -> dict[str, Any]:
    """Compose the body in the document's order of fields; `completed_at` is set for every final status."""
    return {
        "request_id": request_id(model_id, operation, job_id),
        "status": status.value,
        "model_id": model_label(model_id, operation),
        "error": error,
        "output": output and {"media_url": list(output.media_urls), "media_type": output.media_type},
        "created_at": timestamp(created_at),
        "updated_at": timestamp(updated_at),
        "completed_at": completed_at and timestamp(completed_at),
    }


def encode(body: Mapping[str, Any]) -> str:
    """The body as JSON text, in one way only, so that every reader gets the same bytes."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def timestamp(moment: datetime) -> str:
    """`2026-03-31T10:00:15.000Z`: UTC with milliseconds, as the Pixazo document writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
