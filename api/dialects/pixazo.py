"""Pixazo's dialect: `POST /{model_id}/v1/{model_id}-request`, answered with an id to poll."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, Field

from api.dialects.dialect import Body, Dialect, take_submission, validated
from api.errors import pixazo_envelope
from api.services import services_of
from imagequeue.domain.catalog import Catalog, Model
from imagequeue.domain.errors import InvalidRequest, NotFound, UnknownModel
from imagequeue.domain.images import ImageRequest, Operation, OutputFormat, Shape
from imagequeue.domain.jobs import JobStatus
from imagequeue.lifecycle.submit.submission import Accepted
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload

PIXAZO = Dialect("pixazo", pixazo_envelope)
EDIT_SUFFIX = "-edit"

router = APIRouter(tags=["Pixazo"])


def _readable(prompt: str) -> str:
    if "\0" in prompt:
        raise ValueError("must not contain a NUL character")
    if not prompt.strip():
        raise ValueError("must not be blank")
    return prompt


class PixazoBody(Body):
    """The fields that both documents have."""

    prompt: Annotated[str, Field(min_length=3, max_length=5000), AfterValidator(_readable)]
    num_images: Annotated[int, Field(ge=1, le=4)] = 1
    output_format: OutputFormat = "png"
    sync_mode: bool = False


class GenerateBody(PixazoBody):
    """Text to image."""

    aspect_ratio: Literal["auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16"] = (
        "auto"
    )


class EditBody(PixazoBody):
    """Image to image: exactly one http(s) or data URL."""

    image_urls: Annotated[list[str], Field(min_length=1, max_length=1)]
    aspect_ratio: Literal["auto", "1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"] = "auto"


_DOCUMENTED_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [GenerateBody.model_json_schema(), EditBody.model_json_schema()]}
            }
        },
    }
}


@router.post(
    "/{model_id}/v1/{same_model_id}-request",
    status_code=202,
    openapi_extra=_DOCUMENTED_BODY,
    summary="Queue a job; {model_id}-edit edits an image",
)
async def queue_request(request: Request, model_id: str, same_model_id: str) -> Response:
    """Queue a job. Poll `polling_url`, or ask for a callback with `X-Webhook-URL`."""
    if same_model_id != model_id:
        raise NotFound(f"The path must name the model twice: /{model_id[:100]}/v1/{model_id[:100]}-request")
    catalog = services_of(request).runtime.catalog
    accepted = await take_submission(request, PIXAZO, lambda body: read_request(catalog, model_id, body))
    return queued(request, accepted)


def read_request(catalog: Catalog, label: str, body: dict[str, Any]) -> RequestWithUploads:
    """Read a body that was sent for a model label (`{model_id}` or `{model_id}-edit`).

    Raises:
        UnknownModel: the catalog does not have it.
        InvalidRequest: a field is wrong; the message names it.
    """
    model, operation = _model(catalog, label)
    fields = validated(EditBody if operation == "edit" else GenerateBody, body)
    if fields.sync_mode:
        raise InvalidRequest("sync_mode: true is not available yet; poll, or use X-Webhook-URL")
    ask = ImageRequest(
        model_id=model.id,
        prompt=fields.prompt,
        operation=operation,
        image_count=fields.num_images,
        shape=Shape.parse(fields.aspect_ratio),
        output_format=fields.output_format,
    )
    urls = fields.image_urls if isinstance(fields, EditBody) else []
    return RequestWithUploads(ask, tuple(Upload("image_urls", url) for url in urls))


def queued(request: Request, accepted: Accepted) -> Response:
    """The 202 that names the job, byte for byte the same for a repeat."""
    origin = services_of(request).runtime.settings.public_origin
    answer = {
        "request_id": accepted.request_id,
        "status": JobStatus.QUEUED.value,
        "polling_url": f"{origin}/v2/requests/status/{accepted.request_id}",
    }
    headers = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    return Response(json.dumps(answer), 202, headers, media_type="application/json")


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
