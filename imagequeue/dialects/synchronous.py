"""What dialects have in common whose submits are answered with the images.

Source: docs/design/protocols.md, "Dialects". A job that is not final yet is answered with 202 and where it
can be polled, because clients may ask not to wait. FAILED is 400 and ERROR is 502, as errors of the dialect.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from imagequeue.dialects.dialect import ClientRequest, Refusal, Rendered
from imagequeue.dialects.fields import AnswerFields
from imagequeue.domain.errors import ImagequeueError, InvalidRequest
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.domain.jobs import JobStatus

_ERRORS = (400, 401, 402, 403, 404, 413, 415, 422, 429, 500, 502, 503, 504)
"""The statuses of all errors that a submit may be answered with."""


class QueuedJob(AnswerFields):
    """The 202 that names a job which is not final, and where it can be polled."""

    request_id: str
    status: str
    polling_url: str


def answers(completed: type[AnswerFields], error: type[AnswerFields]) -> dict[int, type[AnswerFields]]:
    """The documented answers of a submit that waits: by status, the usual one first."""
    return {200: completed, 202: QueuedJob} | dict.fromkeys(_ERRORS, error)


class SynchronousAnswers(ABC):
    """The parts of a dialect that follow from what a COMPLETED job and an error look like."""

    @abstractmethod
    def refused(self, refusal: Refusal) -> Rendered:
        """As `Dialect`."""

    @abstractmethod
    def completed(self, request: ClientRequest, job: JobView) -> Mapping[str, Any]:
        """The body about a COMPLETED job."""

    def failed(self, refusal: Refusal) -> Rendered:
        """The answer about a job that ended without images; `refusal` is as `refusal_of` says."""
        return self.refused(refusal)

    def accepted(self, request: ClientRequest, request_id: str) -> Rendered:
        """The 202 that names the job."""
        return queued(request, request_id)

    def render(self, request: ClientRequest, job: JobView) -> Rendered:
        """The images, the error, or where to poll."""
        if job.status is JobStatus.COMPLETED:
            return Rendered(200, json.dumps(self.completed(request, job)))
        refusal = refusal_of(job)
        return queued(request, job.request_id, job.status) if refusal is None else self.failed(refusal)

    def wants_content(self, request: ClientRequest, job: JobView) -> bool:
        """Yes, once there are images."""
        del request
        return job.status is JobStatus.COMPLETED


class StreamedAnswers(SynchronousAnswers):
    """The parts of a `StreamingDialect` whose events are all about the final job: no upstream sends parts."""

    @abstractmethod
    def stream_refused(self, request: ClientRequest, refusal: Refusal) -> str:
        """As `StreamingDialect`."""

    @abstractmethod
    def completed_events(self, request: ClientRequest, job: JobView) -> str:
        """The events about a COMPLETED job."""

    def failed_events(self, request: ClientRequest, job: JobView, refusal: Refusal) -> str:
        """The events about a job that ended without images; `refusal` is as `refusal_of` says."""
        del job
        return self.stream_refused(request, refusal)

    def stream_begin(self, request: ClientRequest, request_id: str) -> str:
        """Nothing."""
        del request, request_id
        return ""

    def stream_end(self, request: ClientRequest, job: JobView) -> str:
        """The images, or the error."""
        refusal = refusal_of(job)
        if refusal is None:
            return self.completed_events(request, job)
        return self.failed_events(request, job, refusal)


def refusal_of(job: JobView) -> Refusal | None:
    """The error that a job ended with; None: it is COMPLETED, or not final."""
    if job.status is JobStatus.FAILED:
        return Refusal(InvalidRequest, 400, "Bad Request", job.error or "The request was refused")
    if job.status is JobStatus.ERROR:
        return Refusal(ImagequeueError, 502, "Bad Gateway", job.error or "The request could not be served")
    return None


def base64_or_url(image: OutputImage) -> dict[str, str]:
    """An entry of `data`: `b64_json`, or `url` where a limit forbids the image itself."""
    return {"url": image.url} if image.base64 is None else {"b64_json": image.base64}


def data_url(image: OutputImage) -> str:
    """The image as a data URL, or its URL where a limit forbids the image itself."""
    return image.url if image.base64 is None else f"data:{image.media_type};base64,{image.base64}"


def seconds_of(job: JobView) -> int:
    """When the job ended, else when it began: whole seconds since 1970."""
    return int((job.completed_at or job.created_at).timestamp())


def queued(request: ClientRequest, request_id: str, status: JobStatus = JobStatus.QUEUED) -> Rendered:
    """The 202 of `QueuedJob`."""
    body = {
        "request_id": request_id,
        "status": status.value,
        "polling_url": f"{request.origin}/v2/requests/status/{request_id}",
    }
    return Rendered(202, json.dumps(body))
