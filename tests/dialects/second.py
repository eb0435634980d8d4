"""A dialect for tests, with everything that a dialect can have; `second_examples` are its examples.

`/second/images` takes JSON and forms and answers with an id, `/second/now` waits, or streams where the body
says `stream`. Its webhooks are its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
from imagequeue.dialects.fields import READABLE, WHOLE, AnswerFields, BodyFields, validated
from imagequeue.domain.catalog import Catalog, Model
from imagequeue.domain.errors import InvalidRequest, UnknownModel
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.job_view import JobView
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.webhooks import WebhookMessage
from imagequeue.lifecycle.submit.uploads import AnswerKind, RequestWithUploads, Upload


class SecondBody(BodyFields):
    """What both routes take."""

    model: str
    text: Annotated[str, Field(min_length=1, max_length=100), READABLE]
    count: Annotated[int, WHOLE, Field(ge=1, le=4)] = 1
    inline: bool = False
    stream: bool = False
    label: Annotated[str, Field(max_length=20_000)] = ""


class SecondJob(AnswerFields):
    """Every answer about a job."""

    id: str
    state: str
    label: str
    pictures: list[str]
    failure: str | None


class SecondAccepted(AnswerFields):
    """What a submit is answered with that does not wait."""

    id: str
    look: str


class SecondModels(AnswerFields):
    """The models that can be asked for."""

    names: list[str]


class SecondFailure(AnswerFields):
    """Every error."""

    failure: dict[str, str]


def _route(
    method: Any, path: str, verb: Any, answers: dict[int, type[AnswerFields]], **more: Any
) -> DialectRoute:
    responses = answers | {400: SecondFailure, 404: SecondFailure}
    return DialectRoute(method, path, verb, f"Second: {verb}", "For tests.", responses, **more)


class SecondDialect:
    """Everything at once."""

    name = "second"
    title = "Second"
    prefixes = ("/second", "/second/strict")
    routes = (
        _route(
            "POST",
            "/second/images",
            "submit",
            {202: SecondAccepted, 200: SecondJob},
            bodies={"json": (SecondBody,), "form": (SecondBody,)},
        ),
        _route(
            "POST",
            "/second/now",
            "submit",
            {200: SecondJob, 202: SecondAccepted},
            bodies={"json": (SecondBody,)},
            waits=True,
        ),
        _route("GET", "/second/images/{request_id}", "status", {200: SecondJob}),
        _route("GET", "/second/images/{request_id}/result", "result", {200: SecondJob}),
        _route("DELETE", "/second/images/{request_id}", "cancel", {200: SecondJob}),
        _route("GET", "/second/models", "models", {200: SecondModels}),
    )

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        fields = validated(SecondBody, body)
        if unknown := set(body.files) - {"image"}:
            raise InvalidRequest(f"Unknown file '{min(unknown)[:100]}'")
        images = tuple(Upload("image", content) for content in body.files.get("image", ()))
        ask = ImageRequest(
            model_id=catalog.model(fields.model).id,
            prompt=fields.text,
            operation="edit" if images else "generate",
            image_count=fields.count,
        )
        notes = {"label": fields.label} | ({"inline": True} if fields.inline else {})
        answer: AnswerKind | None = "id" if "x-second-later" in request.headers else None
        return RequestWithUploads(ask, images, notes=notes, answer="stream" if fields.stream else answer)

    def accepted(self, request: ClientRequest, request_id: str) -> Rendered:
        body = {"id": request_id, "look": f"{request.origin}/second/images/{request_id}"}
        return Rendered(202, json.dumps(body), {"X-Second": "accepted"})

    def render(self, request: ClientRequest, job: JobView) -> Rendered:
        headers = {"X-Second": request.route.verb}
        if job.status is JobStatus.FAILED and request.route.verb in {"submit", "result"}:
            return Rendered(400, _failure(400, job.error or ""), headers)
        return Rendered(200, json.dumps(_body(job)), headers)

    def wants_content(self, request: ClientRequest, job: JobView) -> bool:
        return bool(job.notes.get("inline")) and request.route.verb != "status"

    def refused(self, refusal: Refusal) -> Rendered:
        status = 404 if refusal.kind is UnknownModel else refusal.status
        return Rendered(status, _failure(status, refusal.message))

    def stream_begin(self, request: ClientRequest, request_id: str) -> str:
        return _event("accepted", {"id": request_id, "at": request.route.path})

    def stream_end(self, request: ClientRequest, job: JobView) -> str:
        return _event("final", _body(job) | {"at": request.route.path}) + "data: [DONE]\n\n"

    def stream_refused(self, request: ClientRequest, refusal: Refusal) -> str:
        return _event("failure", {"text": refusal.message, "at": request.route.path})

    def models(self, request: ClientRequest, models: Sequence[Model]) -> Rendered:
        names = [model.id for model in models]
        return Rendered(200, json.dumps({"names": names}), {"X-Second": request.route.verb})

    def webhook_body(self, job: JobView, origin: str) -> Mapping[str, Any]:
        return {"event": "picture", "from": origin, **_body(job)}

    def webhook_headers(self, message: WebhookMessage) -> dict[str, str]:
        signed = f"{message.webhook_id}/{message.account_id}".encode() + message.body
        return {"x-second-signature": hashlib.sha256(signed).hexdigest()}


def _failure(status: int, text: str) -> str:
    return json.dumps({"failure": {"code": str(status), "text": text}})


def _event(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _body(job: JobView) -> dict[str, Any]:
    return {
        "id": job.request_id,
        "state": job.status.lower(),
        "label": job.notes.get("label", ""),
        "pictures": [image.base64 or image.url for image in job.images],
        "failure": job.error,
    }


DIALECT: Dialect = SecondDialect()
