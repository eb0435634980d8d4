"""The one table from error classes to HTTP, and the answers that carry them.

Source: docs/design/contract.md, "Errors".

The dialect with the longest prefix of the path tells them, whoever serves the path; so a path that nobody
serves is refused in the words that its client understands.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagequeue.dialects.dialect import Dialect, Refusal, Rendered
from imagequeue.dialects.registry import Dialects
from imagequeue.domain import errors
from imagequeue.store.database import TooSlow

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """How an error class is told: status, title, and whether the same request may succeed later."""

    status: int
    title: str
    repeatable: bool = False


ANSWERS: Mapping[type[errors.ImagequeueError], Answer] = {
    errors.ImagequeueError: Answer(500, "Internal Server Error", repeatable=True),
    errors.InvalidRequest: Answer(400, "Bad Request"),
    errors.UnknownModel: Answer(400, "Model not found"),
    errors.DestinationRefused: Answer(400, "Bad Request"),
    errors.Unauthenticated: Answer(401, "Unauthorized"),
    errors.InsufficientBalance: Answer(402, "Insufficient Balance"),
    errors.Forbidden: Answer(403, "Forbidden"),
    errors.KeyRevoked: Answer(403, "Forbidden"),
    errors.OperatorOnly: Answer(403, "Forbidden"),
    errors.NotFound: Answer(404, "Not Found"),
    errors.AlreadyFinal: Answer(409, "Conflict"),
    errors.TooLarge: Answer(413, "Content Too Large"),
    errors.UnsupportedMediaType: Answer(415, "Unsupported Media Type"),
    errors.IdempotencyMismatch: Answer(422, "Unprocessable Content"),
    errors.TooManyRequests: Answer(429, "Too Many Requests", repeatable=True),
    errors.ServiceUnavailable: Answer(503, "Service Unavailable", repeatable=True),
    errors.StillRunning: Answer(504, "Gateway Timeout"),
    errors.ConfigurationError: Answer(500, "Internal Server Error", repeatable=True),
}

_TITLES = {404: "Not Found", 405: "Method Not Allowed"}
_SAYS_NOTHING = 500
_NOT_INSIDE = "Something went wrong on our side."
_AWAY = (OperationalError, InterfaceError, PoolTimeout, TooSlow)


def install(app: FastAPI, dialects: Dialects) -> None:
    """Let the app answer every error from the table, in the words of the path's dialect."""
    app.state.dialects = dialects
    for kind in (errors.ImagequeueError, HTTPException, *_AWAY):
        app.add_exception_handler(kind, _expected)
    app.add_middleware(Shield)


def answer_to(error: errors.ImagequeueError, dialect: Dialect) -> Response:
    """The response that tells an error."""
    return rendered(dialect.refused(_refusal(error)), _headers(error, ANSWERS[type(error)]))


def refusal_of(error: Exception) -> Refusal:
    """How any error is told where the answer has begun already; one that nobody expected is logged."""
    return _refusal(_told(error))


def _told(error: Exception) -> errors.ImagequeueError:
    """The error that the client is told; what the operator is to know beyond it is logged."""
    if isinstance(error, errors.ImagequeueError):
        return error
    if isinstance(error, _AWAY):
        log.warning("database_away", reason=type(error).__name__)
        return errors.ServiceUnavailable()
    log_unexpected(error)
    return errors.ImagequeueError()


def _refusal(error: errors.ImagequeueError) -> Refusal:
    found = ANSWERS[type(error)]
    message = _NOT_INSIDE if found.status == _SAYS_NOTHING else error.message
    return Refusal(type(error), found.status, found.title, message)


def tell_refusal(dialects: Dialects, path: str, status: int, title: str, message: str) -> tuple[str, str]:
    """How a request is refused that never became one of the app's: media type and text."""
    told = dialects.at(path).refused(Refusal(None, status, title, message))
    return told.media_type, told.body


def rendered(answer: Rendered, headers: Mapping[str, str]) -> Response:
    """The response that a dialect has written, with headers of our own."""
    content = answer.body.encode("utf-8", "replace")
    return Response(content, answer.status, {**headers, **answer.headers}, media_type=answer.media_type)


def _headers(error: errors.ImagequeueError, answer: Answer) -> dict[str, str]:
    headers: dict[str, str] = {} if answer.repeatable else {"x-should-retry": "false"}
    if isinstance(error, errors.TooManyRequests | errors.ServiceUnavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, errors.StillRunning) and error.repeat_joins:
        headers["x-should-retry"] = "true"
    if answer.status == ANSWERS[errors.Unauthenticated].status:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


class Shield:
    """Answers what nobody expected with a 500 that says nothing inside.

    The log gets the type and the places, never the text: an exception's text may hold a prompt.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or answer 500."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # the last resort
            if scope["type"] != "http":
                raise
            log_unexpected(error)
            if not started:
                answer = answer_to(errors.ImagequeueError(), _dialect(Request(scope)))
                await answer(scope, receive, send)


def log_unexpected(error: BaseException) -> None:
    """Log what an unexpected error was and where it came from, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-8:]))
    log.error("unexpected_error", kind=type(error).__name__, places=places)


def answer_for(request: Request, error: Exception) -> Response:
    """The response to a request that tells any error; one that nobody expected is logged."""
    if isinstance(error, HTTPException):
        return _not_routed(request, error)
    return answer_to(_told(error), _dialect(request))


async def _expected(request: Request, error: Exception) -> Response:
    return answer_for(request, error)


def _not_routed(request: Request, error: HTTPException) -> Response:
    title = _TITLES.get(error.status_code, "Bad Request")
    message = f"{request.method} {request.url.path[:200]}: {title.lower()}"
    told = _dialect(request).refused(Refusal(None, error.status_code, title, message))
    return rendered(told, {**(error.headers or {}), "x-should-retry": "false"})


def _dialect(request: Request) -> Dialect:
    dialects: Dialects = request.app.state.dialects
    return dialects.at(request.scope["path"])
