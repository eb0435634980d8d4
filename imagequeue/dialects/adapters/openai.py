"""OpenAI's images and models, with AIML API's on the same path: `POST /v1/images/generations`.

The body is the union of both documents. A request waits for its images, or has them streamed. Azure's clients
put the same below `/openai`, the older ones with the model in the path.
Source: docs/dialects.md, "OpenAI and AIML API".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagequeue.dialects import openai_bodies, openai_images, openai_models
from imagequeue.dialects.dialect import (
    BodyKind,
    ClientRequest,
    Dialect,
    DialectRoute,
    Rendered,
    SubmittedBody,
)
from imagequeue.dialects.fields import AnswerFields, BodyFields
from imagequeue.dialects.openai_bodies import (
    AIML_FIELDS,
    AIML_SHAPE,
    OpenAIEditBody,
    OpenAIEditForm,
    OpenAIGenerateBody,
    OpenAIImageBody,
)
from imagequeue.dialects.openai_errors import OpenAIError
from imagequeue.dialects.openai_images import OpenAIAnswers, TokenUsage
from imagequeue.dialects.synchronous import answers, base64_or_url, seconds_of
from imagequeue.domain.catalog import Catalog, Model
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import AUTO, Shape
from imagequeue.domain.job_view import JobView
from imagequeue.lifecycle.submit.uploads import RequestWithUploads

CREDITS_PER_USD = 2_000_000
"""AIML's `credits_used`, as the example of its document has it."""

_PACKAGE = "x-stainless-lang"
"""A header of OpenAI's packages."""
_AIML_PATH = "/v1/images/generations"
"""AIML edits no images, and has none of Azure's paths."""


class ImageEntry(AnswerFields):
    """An image: one of the two."""

    url: str | None = None
    b64_json: str | None = None


class AimlUsage(AnswerFields):
    """What the images have cost the caller."""

    credits_used: int
    usd_spent: float


class AimlMeta(AnswerFields):
    """AIML's part of the answer."""

    usage: AimlUsage


class ImagesAnswer(AnswerFields):
    """The images; `created` in seconds since 1970."""

    created: int
    data: list[ImageEntry]
    usage: TokenUsage
    meta: AimlMeta
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None


def _submit(path: str, bodies: Mapping[BodyKind, tuple[type[BodyFields], ...]], summary: str) -> DialectRoute:
    return DialectRoute(
        method="POST",
        path=path,
        verb="submit",
        summary=summary,
        description="Waits for the images, or streams them. docs/dialects.md says what each field does.",
        bodies=bodies,
        responses=answers(ImagesAnswer, OpenAIError),
        waits=True,
    )


def _models(path: str, answer: type[AnswerFields], summary: str) -> DialectRoute:
    responses = {200: answer, 401: OpenAIError, 403: OpenAIError, 404: OpenAIError}
    return DialectRoute("GET", path, "models", summary, "With the price of an image.", responses)


def _routes(root: str) -> tuple[DialectRoute, ...]:
    return (
        _submit(f"{root}/images/generations", {"json": (OpenAIGenerateBody,)}, "Generate images"),
        _submit(
            f"{root}/images/edits", {"form": (OpenAIEditForm,), "json": (OpenAIEditBody,)}, "Edit images"
        ),
    )


class OpenAIDialect(OpenAIAnswers):
    """Requests wait for their images."""

    name = "openai"
    title = "OpenAI and AIML API"
    prefixes = ("/v1", "/openai")
    routes = (
        *_routes("/v1"),
        *_routes("/openai/v1"),
        *_routes("/openai/deployments/{name:path}"),
        _models("/v1/models", openai_models.ModelList, "List the models"),
        _models("/v1/models/{name:path}", openai_models.ListedModel, "Show a model"),
        _models("/openai/v1/models", openai_models.ModelList, "List the models"),
        _models("/openai/v1/models/{name:path}", openai_models.ListedModel, "Show a model"),
    )

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read a generation or an edit."""
        fields = openai_bodies.fields_of(body, edit=_edits(request))
        ask = openai_bodies.request_of(fields, _model(request, fields, catalog).id, _shape(request, fields))
        images, mask = openai_bodies.uploads_of(fields, body)
        notes = {"response_format": _response_format(request, fields)}
        return RequestWithUploads(ask, images, mask, notes, "stream" if fields.stream else None)

    def completed(self, request: ClientRequest, job: JobView) -> dict[str, object]:
        """The images, and what they cost."""
        del request
        spent = {"credits_used": round(job.price_usd * CREDITS_PER_USD), "usd_spent": float(job.price_usd)}
        return {
            "created": seconds_of(job),
            "data": [base64_or_url(image) for image in job.images],
            "usage": openai_images.NO_USAGE,
            "meta": {"usage": spent},
            **openai_images.looks(job),
        }

    def wants_content(self, request: ClientRequest, job: JobView) -> bool:
        """Where the client asked for base64; or, for a job of another dialect, where its kind expects it."""
        wanted = job.notes.get("response_format") or _default_format(request)
        return super().wants_content(request, job) and wanted == "b64_json"

    def completed_events(self, request: ClientRequest, job: JobView) -> str:
        """One event for each image."""
        event = "image_edit.completed" if _edits(request) else "image_generation.completed"
        return openai_images.completed_events(job, event)

    def models(self, request: ClientRequest, models: Sequence[Model]) -> Rendered:
        """All models, or the path's one."""
        name = request.parameters.get("name")
        return openai_models.listed(models) if name is None else openai_models.found(models, name)


DIALECT: Dialect = OpenAIDialect()


def _edits(request: ClientRequest) -> bool:
    return request.route.path.endswith("/edits")


def _model(request: ClientRequest, fields: OpenAIImageBody, catalog: Catalog) -> Model:
    """The model that the path names, else the body."""
    name = request.parameters.get("name") or fields.model
    if not name:
        raise InvalidRequest("model: Field required")
    return catalog.model(name)


def _shape(request: ClientRequest, fields: OpenAIImageBody) -> Shape:
    """The shape where a body says none: AIML's, if nothing shows that the client is one of OpenAI's."""
    is_openais = _PACKAGE in request.headers or not fields.model_fields_set <= AIML_FIELDS
    return AUTO if is_openais or request.route.path != _AIML_PATH else AIML_SHAPE


def _response_format(request: ClientRequest, fields: OpenAIImageBody) -> str:
    if not fields.stream:
        return fields.response_format or _default_format(request)
    if fields.response_format == "url":
        raise InvalidRequest("response_format: a stream holds the images; leave it out, or ask for b64_json")
    return "b64_json"


def _default_format(request: ClientRequest) -> str:
    """OpenAI's image models always answer with base64, and its packages expect it; AIML API sends URLs."""
    return "b64_json" if _PACKAGE in request.headers else "url"
