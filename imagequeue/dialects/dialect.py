"""What a dialect is: the routes of one document, as data, and pure functions between HTTP and jobs.

A dialect reads what a client sent into an `ImageRequest`, and writes every answer about the job in its
document's words. It knows no web framework, no database and no settings. `api/` serves its routes: keys,
limits, bodies, headers and the submit are the same for all dialects. Processes without HTTP call the same
functions, so a line of a file is read as a body is, and its result is written as an answer is.

`read` returns a `RequestWithUploads`: the `ImageRequest`, the input images as they came (stored later, before
the job exists), and notes that are stored with the job for its dialect. `render` is given a `JobView`: the
status, images, times and error of one job, and those notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

from imagequeue.domain.catalog import Catalog, Model
from imagequeue.domain.errors import ImagequeueError
from imagequeue.domain.job_view import JobView
from imagequeue.domain.webhooks import WebhookMessage
from imagequeue.lifecycle.submit.uploads import RequestWithUploads

Verb = Literal["submit", "status", "result", "cancel", "models"]
"""What a route does. `status`, `result` and `cancel` name the job in their path, as `{request_id}`."""

BodyKind = Literal["json", "form"]
"""A JSON object, or a multipart form."""

_PARAMETER = re.compile(r"\{(?P<name>\w+)(?P<rest>:path)?\}")


@dataclass(frozen=True, slots=True)
class DialectRoute:
    """A route of a dialect, as data.

    A name in braces in `path` is a parameter, one segment or a part of one; `{name:path}` may have slashes. A
    name that stands twice means the same text twice. `bodies` has each kind of body that the route takes,
    with its documented models; `responses` the documented statuses with theirs, the usual one first. `waits`
    is for a submit: it is answered with the final job and not with its id, unless `read` says otherwise by
    the `answer` of what it returns.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    verb: Verb
    summary: str
    description: str
    responses: Mapping[int, type[BaseModel]]
    bodies: Mapping[BodyKind, tuple[type[BaseModel], ...]] = field(
        default_factory=dict[BodyKind, tuple[type[BaseModel], ...]]
    )
    waits: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path's parameters, each once for each time that it stands there."""
        return tuple(found["name"] for found in _PARAMETER.finditer(self.path))

    def match(self, path: str) -> dict[str, str] | None:
        """The path's parameters; None: it is the path of another route."""
        found = _pattern(self.path).fullmatch(path)
        return found.groupdict() if found else None


@cache
def _pattern(path: str) -> re.Pattern[str]:
    pattern, position, known = "", 0, set[str]()
    for found in _PARAMETER.finditer(path):
        name = found["name"]
        value = f"(?P={name})" if name in known else f"(?P<{name}>{'.+' if found['rest'] else '[^/]+'})"
        pattern += re.escape(path[position : found.start()]) + value
        position, known = found.end(), known | {name}
    return re.compile(pattern + re.escape(path[position:]))


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A request without its body: the route, the path's parameters, the query and the headers.

    Names of headers are in small letters, and no header holds a key. `origin` is how clients reach this
    service, without a slash at the end.
    """

    route: DialectRoute
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    origin: str


@dataclass(frozen=True, slots=True)
class SubmittedBody:
    """A JSON object, or the text fields of a form; `files` are a form's files by field, in their order."""

    kind: BodyKind
    fields: Mapping[str, Any]
    files: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict[str, tuple[bytes, ...]])

    def identity(self) -> Mapping[str, Any]:
        """What two bodies must share to be the same submit, as JSON."""
        if self.kind == "json":
            return self.fields
        digests = {name: [sha256(file).hexdigest() for file in files] for name, files in self.files.items()}
        return {"fields": self.fields, "files": digests}


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer: status, body as text, the dialect's own headers, and the media type of the body."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What `api/errors.py` says about an error: its class, status, title, and the message for the client.

    The class is None where no route was found, or none with the method.
    """

    kind: type[ImagequeueError] | None
    status: int
    title: str
    message: str


@runtime_checkable
class Dialect(Protocol):
    """How the clients of one document speak."""

    @property
    def name(self) -> str:
        """What is kept with each job to say that it is this dialect's."""
        ...

    @property
    def title(self) -> str:
        """What the documentation of the API calls it."""
        ...

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Paths below which errors are told in this dialect; `/` is everything that no other one has."""
        ...

    @property
    def routes(self) -> tuple[DialectRoute, ...]:
        """What it serves; every path lies below one of the prefixes."""
        ...

    def read(self, request: ClientRequest, body: SubmittedBody, catalog: Catalog) -> RequestWithUploads:
        """Read a submit.

        Raises:
            UnknownModel: the catalog does not have the model.
            InvalidRequest: a field is wrong; the message names it, without its value.
            NotFound: the path names nothing.
        """
        ...

    def accepted(self, request: ClientRequest, request_id: str) -> Rendered:
        """The answer to a submit that does not wait; a repeat gets the same bytes."""
        ...

    def render(self, request: ClientRequest, job: JobView) -> Rendered:
        """The answer about a job, whatever its status is.

        To a submit that waits, it is the final job. An image whose `base64` is given may be written into the
        answer, any other is named by its URL. A job that was submitted in another dialect has no `notes`, and
        is answered all the same.
        """
        ...

    def wants_content(self, request: ClientRequest, job: JobView) -> bool:
        """Whether the answer holds the images themselves: then each has its `base64`."""
        ...

    def refused(self, refusal: Refusal) -> Rendered:
        """The answer that tells an error; it may have another status, where the document says so."""
        ...


@runtime_checkable
class StreamingDialect(Dialect, Protocol):
    """A dialect in which a submit may be answered with server-sent events (`answer="stream"`).

    Each method returns whole events as text, each with the empty line at its end, or "". While the job goes
    on, the API sends comments, so that no proxy closes the connection.
    """

    def stream_begin(self, request: ClientRequest, request_id: str) -> str:
        """What is sent as soon as the job is accepted."""
        ...

    def stream_end(self, request: ClientRequest, job: JobView) -> str:
        """What is sent last, once the job is final, whatever its status is; each image has its `base64`."""
        ...

    def stream_refused(self, request: ClientRequest, refusal: Refusal) -> str:
        """What is sent last where the end cannot be: the client has waited too long, or this process ends.

        The status of the answer is 200 by then. A submit that is refused is told by `refused`.
        """
        ...


@runtime_checkable
class ModelsDialect(Dialect, Protocol):
    """A dialect with routes of the verb `models`."""

    def models(self, request: ClientRequest, models: Sequence[Model]) -> Rendered:
        """The answer about the models that can be asked for, in the catalog's order; all, or the path's one.

        Raises:
            NotFound: the path names none of them.
        """
        ...


@runtime_checkable
class WebhookDialect(Dialect, Protocol):
    """A dialect whose webhooks are its own; those of all others carry the status body."""

    def webhook_body(self, job: JobView, origin: str) -> Mapping[str, Any]:
        """The body about a final job; images are named by their URLs, `origin` is as in `ClientRequest`."""
        ...

    def webhook_headers(self, message: WebhookMessage) -> dict[str, str]:
        """The headers that identify and sign one attempt of a delivery."""
        ...
