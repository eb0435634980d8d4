"""Errors as OpenAI's API tells them; AIML API and Omixa tell theirs in the same envelope."""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagequeue.dialects.dialect import Refusal, Rendered
from imagequeue.dialects.fields import AnswerFields
from imagequeue.domain import errors
from imagequeue.domain.errors import ImagequeueError, InvalidRequest, UnknownModel
from imagequeue.domain.policy_words import is_policy

_INVALID, _SERVER, _USER = "invalid_request_error", "server_error", "image_generation_user_error"

_TYPES_AND_CODES: Mapping[type[ImagequeueError], tuple[str, str | None]] = {
    InvalidRequest: (_INVALID, "invalid_value"),
    UnknownModel: (_INVALID, "model_not_found"),
    errors.Unauthenticated: (_INVALID, "invalid_api_key"),
    errors.Forbidden: (_INVALID, "insufficient_permissions"),
    errors.KeyRevoked: (_INVALID, "invalid_api_key"),
    errors.InsufficientBalance: ("insufficient_quota", "insufficient_quota"),
    errors.NotFound: (_INVALID, "model_not_found"),
    errors.AlreadyFinal: (_INVALID, "already_final"),
    errors.TooLarge: (_INVALID, "request_too_large"),
    errors.UnsupportedMediaType: (_INVALID, "unsupported_content_type"),
    errors.IdempotencyMismatch: (_INVALID, "idempotency_key_in_use"),
    errors.TooManyRequests: ("requests", "rate_limit_exceeded"),
    errors.ServiceUnavailable: (_SERVER, "service_unavailable"),
    errors.StillRunning: (_SERVER, "timeout"),
    ImagequeueError: (_SERVER, None),
}
"""By the nearest class. Types and codes are OpenAI's where it has one for the case. What is not found is a
model: these dialects have no route that names another thing."""

_UNROUTED = {404: "unknown_url", 405: "method_not_supported"}
_UNKNOWN_FIELD = re.compile(r"Unknown field '(.+)'")
_FIELD = re.compile(r"([A-Za-z_][\w.\[\]-]*): ")
_MISSING = "Field required"


class OpenAIErrorDetail(AnswerFields):
    """What an error is. `param` is the field that the message names."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(AnswerFields):
    """Every error."""

    error: OpenAIErrorDetail


def refused(refusal: Refusal) -> Rendered:
    """The answer that tells an error."""
    return Rendered(refusal.status, enveloped(detail_of(refusal)))


def enveloped(detail: OpenAIErrorDetail) -> str:
    """The body of the answer."""
    return OpenAIError(error=detail).model_dump_json()


def detail_of(refusal: Refusal) -> OpenAIErrorDetail:
    """Type, code and field of an error."""
    param = None
    if refusal.kind is None:
        kind, code = _INVALID, _UNROUTED.get(refusal.status)
    else:
        kind, code = next(_TYPES_AND_CODES[base] for base in refusal.kind.__mro__ if base in _TYPES_AND_CODES)
        if issubclass(refusal.kind, UnknownModel | errors.NotFound):
            param = "model"
        elif issubclass(refusal.kind, InvalidRequest):
            param, code = _field_and_code(refusal.message, code)
    return OpenAIErrorDetail(message=refusal.message, type=kind, param=param, code=code)


def _field_and_code(message: str, code: str | None) -> tuple[str | None, str | None]:
    if unknown := _UNKNOWN_FIELD.fullmatch(message):
        return unknown[1], "unknown_parameter"
    named = _FIELD.match(message)
    return named and named[1], "missing_required_parameter" if message.endswith(_MISSING) else code


def failed(refusal: Refusal) -> Rendered:
    """The answer about a job that ended without images."""
    return Rendered(refusal.status, enveloped(failure_detail(refusal)))


def failure_detail(refusal: Refusal) -> OpenAIErrorDetail:
    """Type and code of the error that a job ended with: the request was refused, or could not be served."""
    kind, code = _SERVER, "upstream_error"
    if refusal.kind is InvalidRequest:
        kind, code = _USER, "moderation_blocked" if is_policy(refusal.message) else "request_refused"
    return OpenAIErrorDetail(message=refusal.message, type=kind, param=None, code=code)
