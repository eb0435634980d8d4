"""A job as its owner may see it: what dialects write answers and webhooks from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from imagequeue.domain.ids import request_id
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import JobStatus


@dataclass(frozen=True, slots=True)
class OutputImage:
    """An image of a job: where clients download it, its media type (`image/png`), its size in pixels.

    `base64` is text that stands for the base64 of the bytes at `storage_key`; None: an answer names the image
    by its URL. In an answer by HTTP it is a placeholder of characters that JSON does not escape, and the API
    puts the base64 in its place while it sends the answer; so its length says nothing. `sha256` is the digest
    of the bytes; None: they were stored before digests were kept.
    """

    storage_key: str
    url: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    base64: str | None = None
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job that waits, runs or is final; times are aware, `completed_at` is set for every final status.

    `price_usd` is what the whole job costs; it is charged if the job is COMPLETED. `notes` are what the
    dialect noted when it read the request.
    """

    job_id: UUID
    request: ImageRequest
    dialect: str
    status: JobStatus
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    price_usd: Decimal
    error: str | None = None
    images: tuple[OutputImage, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def request_id(self) -> str:
        """What the client calls the job."""
        return request_id(self.request.model_id, self.request.operation, self.job_id)
