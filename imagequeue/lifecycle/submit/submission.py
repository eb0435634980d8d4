"""The values of a submit: `Submission` goes in, `Accepted` comes out, `Draft` is the state between."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from imagequeue.domain.batches import OnUnknown
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import ImagequeueError
from imagequeue.domain.ids import request_id
from imagequeue.domain.images import ImageRequest, Requirement
from imagequeue.domain.jobs import Lane
from imagequeue.domain.json_pieces import canonical_json
from imagequeue.store.jobs.insert import FlowKey


@dataclass(frozen=True, slots=True)
class Submission:
    """One request of one account, whatever dialect it came in, with all that its headers say.

    `model_id` of the request is a catalog id, not an alias. `fingerprint` is equal for submits of the same
    account, route and body. `retry_count` is how often the client says that it has repeated this submit
    (None: it says nothing). Deadlines are times with a zone. `on_unknown`: what becomes of the job when the
    outcome of a call is unknown. `notes` are those of a `RequestWithUploads`, as JSON text.
    """

    account_id: UUID
    api_key_id: UUID
    request: ImageRequest
    dialect: str
    fingerprint: bytes
    lane: Lane = Lane.INTERACTIVE
    start_by: datetime | None = None
    finish_by: datetime | None = None
    webhook_url: str | None = None
    idempotency_key: str | None = None
    retry_count: int | None = None
    client_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    batch_id: UUID | None = None
    on_unknown: OnUnknown = OnUnknown.RETRY
    notes: str | None = None


def price_usd(catalog: Catalog, request: ImageRequest) -> Decimal:
    """What a request costs its account: the model's price for each image."""
    return catalog.model(request.model_id).price_usd * request.image_count


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is in the database. `replayed`: an earlier submit made it, and this one repeats that."""

    job_id: UUID
    request_id: str
    replayed: bool = False

    @classmethod
    def of(cls, submission: Submission, job_id: UUID, *, replayed: bool = False) -> Accepted:
        """The answer to a submission."""
        request = submission.request
        return cls(job_id, request_id(request.model_id, request.operation, job_id), replayed)


def fingerprint(account_id: UUID, route: str, body: Mapping[str, Any]) -> bytes:
    """What two submits must share to be the same one: account, route and canonical body.

    Canonical means the parsed body with sorted keys, so neither white space nor order counts.
    """
    digest = hashlib.sha256(f"{account_id}\n{route}\n".encode())
    for piece in canonical_json(body):
        digest.update(piece)
    return digest.digest()


@dataclass(slots=True)
class Draft:
    """A submission, the id that its job would get, and its outcome (None: not decided yet).

    `claimed`: its Idempotency-Key, or its body, was free and is noted for this draft's job. `requirement` and
    `flow` are those of the job.
    """

    submission: Submission
    job_id: UUID
    outcome: Accepted | ImagequeueError | None = None
    claimed: bool = False
    requirement: Requirement = field(init=False)
    flow: FlowKey = field(init=False)

    def __post_init__(self) -> None:
        one = self.submission
        self.requirement = one.request.requirement
        self.flow = FlowKey(
            one.account_id, one.request.model_id, str(self.requirement), one.lane, one.batch_id
        )
