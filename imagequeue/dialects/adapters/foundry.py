"""Foundry's dialect: the MAI image API, generations as JSON and edits as multipart forms.

Source: the Foundry document, "API endpoints", "Request parameters" and "Troubleshoot". A client names a model
of the catalog, or a deployment: by the catalog's name, or by the name that it has in the Azure resource. In
each case any deployment of that model may serve the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from imagequeue.dialects.dialect import (
    ClientRequest,
    Dialect,
    DialectRoute,
    Refusal,
    Rendered,
    SubmittedBody,
)
from imagequeue.dialects.fields import READABLE, WHOLE, AnswerFields, BodyFields, shown, validated
from imagequeue.dialects.synchronous import SynchronousAnswers, answers, base64_or_url, seconds_of
from imagequeue.domain.catalog import Catalog, Deployment, Model
from imagequeue.domain.errors import InvalidRequest, UnknownModel
from imagequeue.domain.images import AUTO, ImageRequest, Shape
from imagequeue.domain.job_view import JobView
from imagequeue.domain.policy_words import is_policy
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload

SHORTEST_SIDE = 768
"""Pixels, by the document; the catalog may say less for a newer model."""
MOST_PIXELS = 1_048_576
"""Pixels of a whole image, by the document; the catalog may say more for a newer model."""

CODES = {400: "BadRequest", 413: "RequestEntityTooLarge", 502: "BadGateway", 504: "Timeout"}
"""The words of Azure for statuses. Its other errors repeat the status as their code."""

Side = Annotated[int, WHOLE, Field(ge=1, le=100_000)]


class FoundryBody(BodyFields):
    """The fields of both operations."""

    model: str
    prompt: Annotated[str, Field(min_length=1), READABLE]


class FoundryGenerateBody(FoundryBody):
    """Text to image; without a size it is 1024 x 1024."""

    model_config = shown(
        {"model": "MAI-Image-2.5", "prompt": "A lighthouse at dusk", "width": 1024, "height": 1024}
    )

    width: Side | None = None
    height: Side | None = None


class FoundryEditBody(FoundryBody):
    """Image to image: the form also has one file, `image`."""

    model_config = shown(
        {"model": "MAI-Image-2.5", "prompt": "Make it blue"}, files={"image": "The image, a JPEG or PNG."}
    )


class FoundryImage(AnswerFields):
    """An image: base64, or a link where a limit forbids that."""

    b64_json: str | None = None
    url: str | None = None


class FoundryImages(AnswerFields):
    """The answer with the image; `created` is in seconds since 1970."""

    created: int
    data: list[FoundryImage]


class FoundryErrorBody(AnswerFields):
    """What went wrong."""

    code: str
    message: str


class FoundryError(AnswerFields):
    """Every error."""

    error: FoundryErrorBody


_ANSWERS = answers(FoundryImages, FoundryError)

GENERATE = DialectRoute(
    method="POST",
    path="/mai/v1/images/generations",
    verb="submit",
    summary="Generate an image",
    description="Waits for the image, a PNG. `model` is a model or a deployment of the catalog.",
    bodies={"json": (FoundryGenerateBody,)},
    responses=_ANSWERS,
    waits=True,
)
EDIT = DialectRoute(
    method="POST",
    path="/mai/v1/images/edits",
    verb="submit",
    summary="Edit an image",
    description="Waits for the image, a PNG. The form has the file `image`, a JPEG or PNG.",
    bodies={"form": (FoundryEditBody,)},
    responses=_ANSWERS,
    waits=True,
)


class FoundryDialect(SynchronousAnswers):
    """One PNG in each answer."""

    name = "foundry"
    title = "Microsoft Foundry"
    prefixes = ("/mai",)
    routes = (GENERATE, EDIT)

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read a generation or an edit."""
        if request.route is EDIT:
            return _edit(body, catalog)
        fields = validated(FoundryGenerateBody, body)
        model = _model(catalog, fields.model)
        shape = _shape(fields, _foundry_deployments(catalog, model))
        return RequestWithUploads(ImageRequest(model.id, fields.prompt, shape=shape))

    def completed(self, request: ClientRequest, job: JobView) -> Mapping[str, Any]:
        """`data[].b64_json`."""
        del request
        return {"created": seconds_of(job), "data": [base64_or_url(image) for image in job.images]}

    def refused(self, refusal: Refusal) -> Rendered:
        """`{"error": {"code", "message"}}`; a model that is not there is 404."""
        status = 404 if refusal.kind is UnknownModel else refusal.status
        body = {"error": {"code": _code(refusal), "message": refusal.message}}
        return Rendered(status, json.dumps(body, ensure_ascii=False))


DIALECT: Dialect = FoundryDialect()


def _code(refusal: Refusal) -> str:
    if refusal.kind is UnknownModel:
        return "DeploymentNotFound"
    if refusal.kind is InvalidRequest and is_policy(refusal.message):
        return "content_policy_violation"
    return CODES.get(refusal.status, str(refusal.status))


def _edit(body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
    if "image" in body.fields:
        raise InvalidRequest("image: send the file itself, with its name")
    fields = validated(FoundryEditBody, body)
    if unknown := set(body.files) - {"image"}:
        raise InvalidRequest(f"Unknown file '{min(unknown)[:100]}'")
    images = body.files.get("image", ())
    if len(images) != 1:
        raise InvalidRequest(f"image: exactly one file is needed, not {len(images)}")
    ask = ImageRequest(_model(catalog, fields.model).id, fields.prompt, operation="edit")
    return RequestWithUploads(ask, (Upload("image", images[0]),))


def _model(catalog: Catalog, name: str) -> Model:
    """The model that the client means by the name of a model or of a deployment.

    Raises:
        UnknownModel: there is none, it is disabled, or Azure's name is that of two models' deployments.
    """
    try:
        return catalog.model(name)
    except UnknownModel:
        named = {one.model for one in catalog.deployments if one.name == name}
        in_azure = {one.model for one in catalog.deployments if _is_named_in_azure(one, name)}
        found = named or in_azure
        if len(found) != 1:
            raise
    try:
        return catalog.model(found.pop())
    except UnknownModel:
        raise UnknownModel.named(name) from None


def _is_named_in_azure(deployment: Deployment, name: str) -> bool:
    return deployment.provider == "foundry" and deployment.upstream_model.casefold() == name.casefold()


def _foundry_deployments(catalog: Catalog, model: Model) -> list[Deployment]:
    return [one for one in catalog.deployments_of(model.id) if one.provider == "foundry"]


def _shape(fields: FoundryGenerateBody, deployments: list[Deployment]) -> Shape:
    """The size that is asked for, within the widest limits of the model's Foundry deployments."""
    width, height = fields.width, fields.height
    if width is None and height is None:
        return AUTO
    if width is None or height is None:
        raise InvalidRequest(f"{'width' if width is None else 'height'}: width and height go together")
    _check_sides(width, height, deployments)
    return Shape(size=(width, height))


def _check_sides(width: int, height: int, deployments: list[Deployment]) -> None:
    shortest = min((one.shortest_side or SHORTEST_SIDE for one in deployments), default=SHORTEST_SIDE)
    most = max((one.most_pixels or MOST_PIXELS for one in deployments), default=MOST_PIXELS)
    for name, side in (("width", width), ("height", height)):
        if side < shortest:
            raise InvalidRequest(f"{name}: must be at least {shortest} pixels")
    if width * height > most:
        raise InvalidRequest(f"width and height: their product must not exceed {most} pixels")
