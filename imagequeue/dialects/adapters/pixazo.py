"""Pixazo's dialect: `POST /{model_id}/v1/{model_id}-request`, answered with an id to poll.

With `sync_mode: true` the answer is the final status body, with the images themselves as data URLs.

Its status route is `/v2/requests/status/{request_id}`, which serves the jobs of every dialect, so it stands
with the routes that are no dialect's. Source: docs/design/protocols.md, "The Pixazo dialect".
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from imagequeue.dialects.dialect import (
    ClientRequest,
    Dialect,
    DialectRoute,
    Refusal,
    Rendered,
    SubmittedBody,
)
from imagequeue.dialects.fields import (
    EXAMPLE_IMAGE,
    READABLE,
    WHOLE,
    AnswerFields,
    BodyFields,
    shown,
    validated,
)
from imagequeue.dialects.synchronous import QueuedJob, data_url, queued
from imagequeue.domain.catalog import Catalog, Model
from imagequeue.domain.errors import UnknownModel
from imagequeue.domain.images import ImageRequest, Operation, OutputFormat, Shape
from imagequeue.domain.job_view import JobView
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.status_body import Output, encode, status_body
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload

EDIT_SUFFIX = "-edit"


class PixazoBody(BodyFields):
    """The fields that both documents have."""

    prompt: Annotated[str, Field(min_length=3, max_length=5000), READABLE]
    num_images: Annotated[int, WHOLE, Field(ge=1, le=4)] = 1
    output_format: OutputFormat = "png"
    sync_mode: bool = False


class GenerateBody(PixazoBody):
    """Text to image."""

    model_config = shown({"prompt": "A lighthouse at dusk", "aspect_ratio": "16:9", "num_images": 1})

    aspect_ratio: Literal["auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16"] = (
        "auto"
    )


class EditBody(PixazoBody):
    """Image to image: exactly one http(s) or data URL."""

    model_config = shown({"prompt": "Make it blue", "image_urls": [EXAMPLE_IMAGE]})

    image_urls: Annotated[list[str], Field(min_length=1, max_length=1)]
    aspect_ratio: Literal["auto", "1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"] = "auto"


class PixazoOutput(AnswerFields):
    """The images of a completed job: URLs, or data URLs in an answer to `sync_mode: true`."""

    media_url: list[str]
    media_type: str


class PixazoJob(AnswerFields):
    """The status body."""

    request_id: str
    status: JobStatus
    model_id: str
    error: str | None
    output: PixazoOutput | None
    created_at: str
    updated_at: str
    completed_at: str | None


class PixazoError(AnswerFields):
    """Every error."""

    error: str
    message: str


SUBMIT = DialectRoute(
    method="POST",
    path="/{model_id}/v1/{model_id}-request",
    verb="submit",
    summary="Queue a job; {model_id}-edit edits an image",
    description="Queue a job. Poll `polling_url`, or ask for a callback with `X-Webhook-URL`. With"
    " `sync_mode: true` the answer is the final status body, with the images as data URLs.",
    bodies={"json": (GenerateBody, EditBody)},
    responses={202: QueuedJob, 200: PixazoJob}
    | dict.fromkeys((400, 401, 402, 403, 429, 500, 504), PixazoError),
)


class PixazoDialect:
    """Jobs are queued and polled, or waited for."""

    name = "pixazo"
    title = "Pixazo"
    prefixes = ("/",)
    routes = (SUBMIT,)

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read a body that was sent for a model's label (`{model_id}` or `{model_id}-edit`)."""
        model, operation = _model(catalog, request.parameters["model_id"])
        fields = validated(EditBody if operation == "edit" else GenerateBody, body)
        ask = ImageRequest(
            model_id=model.id,
            prompt=fields.prompt,
            operation=operation,
            image_count=fields.num_images,
            shape=Shape.parse(fields.aspect_ratio),
            output_format=fields.output_format,
        )
        urls = fields.image_urls if isinstance(fields, EditBody) else []
        uploads = tuple(Upload("image_urls", url) for url in urls)
        if fields.sync_mode:
            return RequestWithUploads(ask, uploads, notes={"sync_mode": True}, answer="job")
        return RequestWithUploads(ask, uploads)

    def accepted(self, request: ClientRequest, request_id: str) -> Rendered:
        """The 202 that names the job."""
        return queued(request, request_id)

    def render(self, request: ClientRequest, job: JobView) -> Rendered:
        """The status body."""
        del request
        return Rendered(200, encode(_status_body(job)))

    def wants_content(self, request: ClientRequest, job: JobView) -> bool:
        """In the answer to a submit with `sync_mode: true`; all others name images by their URLs."""
        return request.route.verb == "submit" and bool(job.notes.get("sync_mode"))

    def refused(self, refusal: Refusal) -> Rendered:
        """`{"error", "message"}`."""
        body = {"error": refusal.title, "message": refusal.message}
        return Rendered(refusal.status, json.dumps(body, ensure_ascii=False))


def _status_body(job: JobView) -> dict[str, Any]:
    urls = [data_url(image) for image in job.images]
    return status_body(
        job_id=job.job_id,
        model_id=job.request.model_id,
        operation=job.request.operation,
        status=job.status,
        created_at=job.created_at,
        updated_at=job.updated_at,
        completed_at=job.completed_at,
        error=job.error,
        output=Output(urls, job.images[0].media_type) if job.images else None,
    )


def _model(catalog: Catalog, label: str) -> tuple[Model, Operation]:
    """Find the model; a label that ends in `-edit` means the edits of the model before it."""
    try:
        return catalog.model(label), "generate"
    except UnknownModel:
        if not label.endswith(EDIT_SUFFIX):
            raise
    model = catalog.model(label.removesuffix(EDIT_SUFFIX))
    if "edit" not in model.operations:
        raise UnknownModel.named(label)
    return model, "edit"


DIALECT: Dialect = PixazoDialect()
