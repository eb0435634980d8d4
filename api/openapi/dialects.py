"""The routes of the dialects: bodies from their models, answers as the dialects write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from api.documented import ALWAYS, COUNTED_VERBS, KEYED, RATE
from api.form import FORM
from api.openapi.headers import SECURITY, SUBMIT_HEADERS, answer_headers
from api.openapi.refusals import error_model, refusals
from api.openapi.samples import sample_request, shown_job
from imagequeue.dialects.dialect import BodyKind, Dialect, DialectRoute, Rendered, StreamingDialect, Verb
from imagequeue.domain import errors
from imagequeue.domain.errors import ImagequeueError
from imagequeue.domain.jobs import JobStatus

_TYPES: Mapping[BodyKind, str] = {"json": "application/json", "form": FORM}
_REFUSALS: Mapping[Verb, tuple[type[ImagequeueError], ...]] = {
    "submit": (
        errors.InvalidRequest,
        errors.UnknownModel,
        errors.DestinationRefused,
        errors.InsufficientBalance,
        errors.TooLarge,
        errors.UnsupportedMediaType,
        errors.IdempotencyMismatch,
        errors.TooManyRequests,
    ),
    "status": (),
    "result": (),
    "cancel": (errors.AlreadyFinal,),
    "models": (),
}
_SUBMITTED = ("Idempotent-Replayed", "Preference-Applied")
_FIRST_ERROR = 400
_OK = 200

Responses = dict[str, dict[str, Any]]


def operation(dialect: Dialect, route: DialectRoute) -> dict[str, Any]:
    """What the document says about a route; its parameters in the path are there already."""
    told: dict[str, Any] = {"responses": _responses(dialect, route), "security": SECURITY}
    if route.verb == "submit":
        told["parameters"] = [dict(header) for header in SUBMIT_HEADERS]
        told["requestBody"] = {"required": True, "content": _bodies(route)}
    return told


def models_of(dialect: Dialect) -> set[type[BaseModel]]:
    """The models of a dialect's answers."""
    return {model for route in dialect.routes for model in route.responses.values()} | {error_model(dialect)}


def bodies_of(dialect: Dialect) -> set[type[BaseModel]]:
    """The models of a dialect's bodies."""
    return {model for route in dialect.routes for models in route.bodies.values() for model in models}


def reference(model: type[BaseModel]) -> dict[str, str]:
    """The schema of a model, by its name."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _bodies(route: DialectRoute) -> dict[str, Any]:
    return {
        _TYPES[kind]: {"schema": _one_of([reference(model) for model in models])}
        for kind, models in route.bodies.items()
    }


def _one_of(schemas: list[dict[str, str]]) -> dict[str, Any]:
    return dict(schemas[0]) if len(schemas) == 1 else {"anyOf": schemas}


def _responses(dialect: Dialect, route: DialectRoute) -> Responses:
    """The answers that the route documents, and the errors that can happen to its verb."""
    good = {status: model for status, model in route.responses.items() if status < _FIRST_ERROR}
    found: Responses = {str(status): _documented(model, route) for status, model in good.items()}
    found |= refusals(dialect, _kinds(route), _headers(route.verb))
    for name, answer in _answers(dialect, route).items():
        response = found.setdefault(str(answer.status), _documented(error_model(dialect), route))
        examples = response["content"]["application/json"].setdefault("examples", {})
        examples[name] = {"summary": name, "value": json.loads(answer.body)}
    if route.verb == "submit" and _OK in route.responses and isinstance(dialect, StreamingDialect):
        found[str(_OK)]["content"]["text/event-stream"] = _stream(dialect, route)
    return dict(sorted(found.items()))


def _headers(verb: Verb) -> Sequence[str]:
    """The headers that every answer may have, the errors among them."""
    return [*(("X-Request-Id",) if verb != "models" else ()), *(RATE if verb in COUNTED_VERBS else ())]


def _kinds(route: DialectRoute) -> list[type[ImagequeueError]]:
    kinds = [*KEYED, *_REFUSALS[route.verb], *ALWAYS]
    if route.parameters:
        kinds.append(errors.NotFound)
    if route.verb == "submit" and _OK in route.responses:
        kinds.append(errors.StillRunning)
    return kinds


def _documented(model: type[BaseModel], route: DialectRoute) -> dict[str, Any]:
    names = [*_headers(route.verb), *(_SUBMITTED if route.verb == "submit" else ())]
    return {
        "description": (model.__doc__ or model.__name__).partition("\n")[0],
        "headers": answer_headers(names),
        "content": {"application/json": {"schema": reference(model)}},
    }


def _answers(dialect: Dialect, route: DialectRoute) -> dict[str, Rendered]:
    """Answers about a sample job by what they are about."""
    request = sample_request(route)
    if route.verb == "models":
        return {}
    if route.verb != "submit":
        statuses = (JobStatus.FAILED,) if route.verb == "cancel" else tuple(JobStatus)
        return {status: dialect.render(request, shown_job(dialect, request, status)) for status in statuses}
    accepted = dialect.accepted(request, shown_job(dialect, request, JobStatus.QUEUED).request_id)
    if _OK not in route.responses:
        return {"accepted": accepted}
    ends = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.ERROR)
    rendered = {status: dialect.render(request, shown_job(dialect, request, status)) for status in ends}
    return {"accepted": accepted, **{status.value: answer for status, answer in rendered.items()}}


def _stream(dialect: StreamingDialect, route: DialectRoute) -> dict[str, Any]:
    request = sample_request(route)
    job = shown_job(dialect, request, JobStatus.COMPLETED)
    text = dialect.stream_begin(request, job.request_id) + dialect.stream_end(request, job)
    return {"schema": {"type": "string", "contentMediaType": "text/event-stream"}, "example": text}
