"""A job as an example: the dialects write their answers about it for the documentation of the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from imagequeue.dialects.dialect import ClientRequest, Dialect, DialectRoute
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.domain.jobs import JobStatus

MODEL = "microsoft-mai-image-2-5"
ORIGIN = "https://images.example.com"
_BEGAN = datetime(2026, 3, 31, 10, 0, tzinfo=UTC)
_SECONDS = timedelta(seconds=15)
_BASE64 = "iVBORw0KGgo="
"""The first bytes of every PNG."""


def sample_request(route: DialectRoute) -> ClientRequest:
    """A request to a route, whose parameters are the model or the sample's id."""
    given = dict.fromkeys(route.parameters, MODEL)
    if "request_id" in given:
        given["request_id"] = sample_job("", JobStatus.COMPLETED).request_id
    return ClientRequest(route, given, {}, {}, ORIGIN)


def sample_job(dialect: str, status: JobStatus, *, with_content: bool = False) -> JobView:
    """A job of a dialect in a status; `with_content`: its image has its base64."""
    image = OutputImage(
        "key", f"{ORIGIN}/1.png", "image/png", 1024, 1024, 8, _BASE64 if with_content else None
    )
    return JobView(
        job_id=UUID("019d0000-0000-7000-8000-000000000001"),
        request=ImageRequest(MODEL, "A lighthouse at dusk"),
        dialect=dialect,
        status=status,
        created_at=_BEGAN,
        updated_at=_BEGAN + _SECONDS,
        completed_at=_BEGAN + _SECONDS if status.is_final else None,
        price_usd=Decimal("0.039"),
        error=None if status is JobStatus.COMPLETED else "No deployment could serve the request",
        images=(image,) if status is JobStatus.COMPLETED else (),
    )


def shown_job(dialect: Dialect, request: ClientRequest, status: JobStatus) -> JobView:
    """The sample as a dialect shows it in answer to a request."""
    job = sample_job(dialect.name, status)
    content = dialect.wants_content(request, job)
    return sample_job(dialect.name, status, with_content=True) if content else job
