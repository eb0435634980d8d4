"""What the routes about batches answer with, for the documentation of the API. `/v1` has Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.answer_models import RequestId, Time
from api.file_models import FileId
from imagequeue.dialects.fields import AnswerFields
from imagequeue.domain.batches import BatchState, LineState, PauseReason

BatchId = Annotated[str, Field(examples=["batch_019d00000000700080000000000000a1"])]
Usd = Annotated[str, Field(description="USD.", examples=["0.039"])]
FileExpiry = Annotated[int, Field(ge=3600, le=2_592_000)]


class BatchError(AnswerFields):
    """An error of a line of the file; `param` is the field."""

    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(AnswerFields):
    """The first errors of a file."""

    object: Literal["list"]
    data: list[BatchError]


class RequestCounts(AnswerFields):
    """Lines by what became of them."""

    total: int
    completed: int
    failed: int


class OpenAIBatch(AnswerFields):
    """A batch, as OpenAI has it; one that is paused is `in_progress`."""

    id: BatchId
    object: Literal["batch"]
    endpoint: str
    errors: BatchErrors | None
    input_file_id: FileId
    completion_window: str
    status: Literal[
        "validating",
        "failed",
        "in_progress",
        "finalizing",
        "completed",
        "expired",
        "cancelling",
        "cancelled",
    ]
    output_file_id: FileId | None
    error_file_id: FileId | None
    created_at: int
    in_progress_at: int | None
    expires_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


class OpenAIBatchList(AnswerFields):
    """Batches of the account, newest first."""

    object: Literal["list"]
    data: list[OpenAIBatch]
    first_id: BatchId | None
    last_id: BatchId | None
    has_more: bool


class BatchPart(AnswerFields):
    """A file of lines, and how far its validation is."""

    file_id: FileId
    state: str
    bytes: int
    bytes_validated: int
    lines: int
    skipped: int
    images: int
    price_usd: Usd | None
    errors: list[BatchError]


class BatchSpeed(AnswerFields):
    """Jobs a minute: in the last one, in the last fifteen, and what the quotas allow at the moment."""

    last_minute: int
    last_fifteen_minutes: float
    quota: float


class ShownBatch(AnswerFields):
    """A batch. `counts` has the lines by state, `running` are those of them that have a call."""

    id: BatchId
    object: Literal["batch"]
    status: BatchState
    reasons: list[PauseReason]
    endpoint: str | None
    input_file_id: FileId
    output_file_id: FileId | None
    error_file_id: FileId | None
    parts: list[BatchPart]
    counts: dict[str, int]
    images: int
    held_usd: Usd
    spent_usd: Usd
    budget_usd: Usd | None
    keep_available_usd: Usd
    estimate_usd: Usd
    weight: int
    max_failure_rate: float
    on_unknown: str
    dedupe: str
    limit: int | None
    webhook_url: str | None
    line_webhooks: bool
    metadata: dict[str, str] | None
    completion_window: str
    created_at: Time
    start_by: Time | None
    expires_at: Time | None
    in_progress_at: Time | None
    finalizing_at: Time | None
    completed_at: Time | None
    failed_at: Time | None
    expired_at: Time | None
    cancelling_at: Time | None
    cancelled_at: Time | None


class BatchProgress(ShownBatch):
    """A batch, how fast it goes, and why not faster."""

    running: int
    speed: BatchSpeed
    eta_seconds: int | None
    why_not_faster: list[str]


class ShownBatchList(AnswerFields):
    """Batches of the account, newest first."""

    data: list[ShownBatch]
    next_cursor: BatchId | None


class ShownEstimate(AnswerFields):
    """What a file would cost, and how long the quotas would need if nothing else used them.

    `limited_by` are the quota groups that are busy to the end; `errors` the first hundred of its lines.
    """

    id: BatchId
    object: Literal["estimate"]
    status: BatchState
    lines: int
    skipped: int
    images: int
    price_usd: Usd
    seconds: int | None
    limited_by: list[str]
    errors: list[BatchError]


class BatchLine(AnswerFields):
    """A line of a batch."""

    number: int
    custom_id: str
    state: LineState
    request_id: RequestId | None
    retries: int
    error: dict[str, str] | None


class BatchLines(AnswerFields):
    """Lines of a batch, in the order of the file."""

    data: list[BatchLine]
    next_cursor: int | None


class ErrorGroup(AnswerFields):
    """The lines of a batch that ended with one error; `custom_ids` has the first five."""

    code: str
    count: int
    message: str | None
    first_line: int
    custom_ids: list[str]


class ErrorGroups(AnswerFields):
    """The errors of a batch, the most frequent first."""

    data: list[ErrorGroup]


RESULTS: dict[str, Any] = {"application/x-ndjson": {"schema": {"type": "string"}}}
"""A line for each line of the batch that finished."""
