"""What dialects have in common whose submits are answered with the images.

Source: docs/design/protocols.md, "Dialects". A job that is not final yet is answered with 202 and where it
can be polled, because clients may ask not to wait. FAILED is 400 and ERROR is 502, as errors of the dialect;
neither is worth a repeat of the same request.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagequeue.dialects.dialect import ClientRequest, Refusal, Rendered
from imagequeue.dialects.fields import AnswerFields
from imagequeue.domain.errors import ImagequeueError, InvalidRequest
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.domain.jobs import JobStatus


class QueuedJob(AnswerFields):
    """The 202 to a client that does not wait."""

    request_id: str
    status: str
    polling_url: str


class SynchronousAnswers(ABC):
    """The parts of a dialect that follow from what a COMPLETED job and an error look like."""

    @abstractmethod
    def refused(self, refusal: Refusal) -> Rendered:
        """As `Dialect`."""

    @abstractmethod
    def completed(self, request: ClientRequest, job: JobView) -> Mapping[str, Any]:
        """The body about a COMPLETED job."""

    def accepted(self, request: ClientRequest, request_id: str) -> Rendered:
        """The 202 that names the job."""
        return _queued(request, request_id, JobStatus.QUEUED)

    def render(self, request: ClientRequest, job: JobView) -> Rendered:
        """The images, the error, or where to poll."""
        if job.status is JobStatus.COMPLETED:
            return Rendered(200, json.dumps(self.completed(request, job)))
        refusal = refusal_of(job)
        if refusal is None:
            return _queued(request, job.request_id, job.status)
        return replace(self.refused(refusal), headers={"x-should-retry": "false"})

    def wants_content(self, request: ClientRequest, job: JobView) -> bool:
        """Yes, once there are images."""
        del request
        return job.status is JobStatus.COMPLETED


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


def _queued(request: ClientRequest, request_id: str, status: JobStatus) -> Rendered:
    body = {
        "request_id": request_id,
        "status": status.value,
        "polling_url": f"{request.origin}/v2/requests/status/{request_id}",
    }
    return Rendered(202, json.dumps(body))
