"""What clients say of a batch when they create it, at either door, and what it is read into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Request
from pydantic import BeforeValidator, Field, WithJsonSchema

from api.auth import authenticate
from api.batch_models import FileExpiry
from api.model_body import read_model_and_bytes
from api.services import services_of
from api.submission_headers import SubmissionHeaders, read_submission_headers
from imagequeue.dialects.fields import WHOLE, BodyFields
from imagequeue.dialects.lines import submit_route
from imagequeue.domain.batch_window import window_length
from imagequeue.domain.batches import Dedupe, OnUnknown
from imagequeue.domain.errors import InvalidRequest, NotFound
from imagequeue.domain.ids import split_file_name
from imagequeue.domain.jobs import Lane
from imagequeue.egress import EgressPolicy
from imagequeue.lifecycle.backfill.create import BatchOrder, new_batch
from imagequeue.store.money.accounts import StoredKey


def _amount(given: object) -> object:
    """An amount that is written as a number or as text, exactly as it is written."""
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        try:
            return Decimal(str(given))
        except InvalidOperation:
            raise ValueError("must be an amount in USD") from None
    return given


Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    Field(ge=0, le=1_000_000_000, decimal_places=9),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}], "description": "USD"}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[int, WHOLE, Field(ge=1, le=1000)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class ResultExpiry(BodyFields):
    """When the files of results are deleted, as OpenAI has it."""

    anchor: Literal["created_at"]
    seconds: Annotated[FileExpiry, WHOLE]


Expiry = Annotated[
    ResultExpiry,
    WithJsonSchema(
        {
            "type": "object",
            "required": ["anchor", "seconds"],
            "properties": {
                "anchor": {"type": "string", "enum": ["created_at"]},
                "seconds": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
            },
        }
    ),
]


class OpenAIOrder(BodyFields):
    """The body of `POST /v1/batches`."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Metadata | None = None
    output_expires_after: Expiry | None = None

    def terms(self) -> dict[str, Any]:
        """The fields of a `NewBatch` that this door has."""
        return {}


class BackfillOrder(BodyFields):
    """The body of `POST /v2/batches`. `dry_run`: the file is only checked, as by `/v2/batches/estimate`."""

    input_file_id: str
    endpoint: str | None = None
    completion_window: str = "24h"
    metadata: Metadata | None = None
    output_expires_after: Expiry | None = None
    budget_usd: Amount | None = None
    keep_available_usd: Amount = Decimal(0)
    weight: Weight = 1
    max_failure_rate: Share = 0.5
    on_unknown: Literal["retry", "fail", "hold"] = "retry"
    dedupe: Literal["off", "file", "custom_id"] = "off"
    limit: Annotated[int, WHOLE, Field(ge=1, le=1_000_000)] | None = None
    line_webhooks: bool = False
    dry_run: bool = False

    def terms(self) -> dict[str, Any]:
        """The fields of a `NewBatch` that this door alone has."""
        names = ("budget_usd", "keep_available_usd", "weight", "max_failure_rate", "line_webhooks", "dry_run")
        return {name: getattr(self, name) for name in names} | {
            "on_unknown": OnUnknown(self.on_unknown),
            "dedupe": Dedupe(self.dedupe),
            "line_limit": self.limit,
        }


async def read_order(
    request: Request, model: type[OpenAIOrder | BackfillOrder], *, dry_run: bool = False
) -> BatchOrder:
    """What a request orders, which counts as a submit. `dry_run`: the file is only checked, whatever it says.

    Raises:
        Unauthenticated, KeyRevoked, TooManyRequests: as every submit.
        InvalidRequest, TooLarge, UnsupportedMediaType: the body or a header is wrong.
    """
    key = await authenticate(request)
    fields, body = await read_model_and_bytes(request, model)
    if dry_run:
        fields = fields.model_copy(update={"dry_run": True})
    return OrderReader(request, key, services_of(request).runtime.policy).order(fields, body)


@dataclass(frozen=True, slots=True)
class OrderReader:
    """Reads what creates a batch: the key, the body as it came, and the headers."""

    request: Request
    key: StoredKey
    policy: EgressPolicy

    def order(self, fields: OpenAIOrder | BackfillOrder, body: bytes) -> BatchOrder:
        """What is ordered.

        Raises:
            InvalidRequest: names the field or the header, and what is wrong with it.
        """
        now = datetime.now(UTC)
        headers = read_submission_headers(self.request.headers, self.policy, now)
        self._check_lane(headers)
        if fields.endpoint is not None:
            _check_endpoint(fields.endpoint)
        batch = new_batch(
            self.key.account_id,
            self.key.id,
            file_id(fields.input_file_id),
            endpoint=fields.endpoint,
            completion_window=fields.completion_window,
            metadata=fields.metadata,
            output_expires_after_seconds=fields.output_expires_after and fields.output_expires_after.seconds,
            idempotency_key=headers.idempotency_key,
            webhook_url=headers.webhook_url,
            client_headers=headers.client_headers,
            start_by=headers.start_by,
            expires_at=_expires_at(fields.completion_window, headers, now),
            **fields.terms(),
        )
        digested = self.request.url.path.encode() + b"\n" + body
        return BatchOrder(batch, digested, headers.retry_count)

    def _check_lane(self, headers: SubmissionHeaders) -> None:
        if "x-lane" in self.request.headers and headers.lane is not Lane.BACKFILL:
            raise InvalidRequest("X-Lane: the lines of a batch are in the lane backfill")


def file_id(name: str) -> UUID:
    """The file that `input_file_id` names.

    Raises:
        InvalidRequest: it is no name of a file.
    """
    try:
        return split_file_name(name)
    except NotFound as error:
        raise InvalidRequest(f"input_file_id: {error.message}") from None


def _check_endpoint(endpoint: str) -> None:
    try:
        submit_route(endpoint)
    except InvalidRequest:
        raise InvalidRequest("endpoint: it is not the path of a submit route that takes JSON") from None


def _expires_at(window: str, headers: SubmissionHeaders, now: datetime) -> datetime | None:
    """The end of the window or the deadline, the earlier one."""
    length = window_length(window)
    moments = [headers.finish_by, None if length is None else now + length]
    return min((moment for moment in moments if moment is not None), default=None)
