"""What the routes that are no dialect's answer with, for the documentation of the API.

The routes write their answers by themselves, and the tests read them with these models. Times are RFC 3339 in
UTC, amounts are USD as decimal strings.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from imagequeue.dialects.fields import AnswerFields
from imagequeue.domain.jobs import AttemptState, JobStatus
from imagequeue.lifecycle.operate.report import DeploymentReport

_REQUEST_ID = "microsoft-mai-image-2-5_019d0000-0000-7000-8000-000000000001"
_BEGAN, _ENDED = "2026-03-31T10:00:00.000Z", "2026-03-31T10:00:15.000Z"

RequestId = Annotated[str, Field(description="The model's id, and a UUID.", examples=[_REQUEST_ID])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=[_BEGAN])]
Usd = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["0.039"])]


class Health(AnswerFields):
    """The process serves."""

    status: Literal["ok"]


class Readiness(AnswerFields):
    """Submits can be accepted."""

    status: Literal["ready"]


class JobOutput(AnswerFields):
    """The images of a completed job: their URLs, or data URLs."""

    media_url: list[str]
    media_type: str


class JobState(AnswerFields):
    """Where a job stands. Once it is final, this never changes by a byte."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": _REQUEST_ID,
                    "status": "COMPLETED",
                    "model_id": "microsoft-mai-image-2-5",
                    "error": None,
                    "output": {"media_url": ["https://images.example.com/1.png"], "media_type": "image/png"},
                    "created_at": _BEGAN,
                    "updated_at": _ENDED,
                    "completed_at": _ENDED,
                }
            ]
        }
    )

    request_id: RequestId
    status: JobStatus
    model_id: str
    error: str | None
    output: JobOutput | None
    created_at: Time
    updated_at: Time
    completed_at: Time | None


class WaitingJobState(JobState):
    """Where a job stands, and while it waits for a call its place in the line; null where it is not known."""

    queue_position: int | None = None
    eta_seconds: float | None = None


class JobPage(AnswerFields):
    """Jobs, newest first."""

    data: list[JobState]
    next_cursor: Annotated[str | None, Field(description="The `cursor` of the next page; null: it is empty.")]


class UpstreamCall(AnswerFields):
    """One upstream call. What an upstream said is shown where it refused, and to operators."""

    id: str
    deployment: str
    outcome: AttemptState
    image_count: int
    created_at: Time
    called_at: Time | None
    finished_at: Time | None
    http_status: int | None
    reason: str | None
    cost_usd: Usd | None


class UpstreamCalls(AnswerFields):
    """Every upstream call of a job."""

    data: list[UpstreamCall]


class WalletEntry(AnswerFields):
    """A ledger entry; `captured` is the part of a hold that was spent."""

    id: str
    kind: Literal["DEPOSIT", "HOLD", "CAPTURE", "VOID"]
    amount: Usd
    captured: Usd | None
    request_id: RequestId | None
    created_at: Time


class WalletState(AnswerFields):
    """What an account has available, holds for open jobs and has spent, and its last ledger entries."""

    available: Usd
    held: Usd
    spent: Usd
    entries: list[WalletEntry]


class DeploymentList(AnswerFields):
    """Every deployment of the catalog."""

    data: list[DeploymentReport]


class ReloadedCatalog(AnswerFields):
    """How many entries the new catalog has."""

    models: int
    deployments: int


def content(media_type: str, schema: dict[str, object]) -> dict[str, object]:
    """The content of an answer that is no JSON."""
    return {media_type: {"schema": schema}}


BYTES: dict[str, object] = {"type": "string", "format": "binary"}
EVENTS = content("text/event-stream", {"type": "string", "examples": ["id: 1\nevent: status\ndata: {…}\n\n"]})
IMAGES = {kind: {"schema": BYTES} for kind in ("image/png", "image/jpeg", "image/webp")}
