"""What a provider is in the simulator: routes, checks and envelopes, without state, clock or socket."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import Headers

from simulator.config import ModelConfig, Operation, UpstreamConfig
from simulator.content import Content
from simulator.images import Format, InputImage
from simulator.jobs import Job
from simulator.wire import Answer, json_answer

Reason = Literal[
    "unauthorized",
    "unknown_route",
    "unknown_model",
    "unsupported",
    "unreadable",
    "too_large",
    "invalid",
    "policy",
    "throttled",
    "fault",
]


@dataclass(frozen=True, slots=True)
class Route:
    """A route that was matched: the operation, the kind of body, and what the path names.

    `flavour` tells two paths of one provider apart that have different bodies.
    """

    operation: Literal["generate", "edit", "poll"]
    body: Literal["json", "multipart", "none"] = "json"
    flavour: str = ""
    model: str | None = None
    reference: str | None = None

    @property
    def shown_model(self) -> str | None:
        """The model as it stands in the path, with `-edit` for an edit."""
        return f"{self.model}-edit" if self.model and self.operation == "edit" else self.model


@dataclass(frozen=True, slots=True)
class Ask:
    """A valid request, in terms that are common to all providers.

    `size` is width and height in pixels. `queued`: the answer has an id at once, and the client polls; only a
    `JobProvider` reads one that is. `options` has what only the provider itself reads.
    """

    prompt: str
    count: int
    size: tuple[int, int]
    format: Format = "png"
    source: InputImage | None = None
    queued: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not served. `status` and `code`, if given, replace those of the provider's table.

    `subject` is the model that an error message names.
    """

    reason: Reason
    message: str
    param: str | None = None
    status: int | None = None
    code: str | None = None
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal with the status and the code that it is answered with."""

    status: int
    code: str
    refusal: Refusal


class InvalidAskError(Exception):
    """The request breaks a documented rule."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Success:
    """What a successful answer is made of.

    `images` are base64 texts, or URLs if the provider answers with those; None makes a success without
    images. `created` is a Unix time in seconds.
    """

    ask: Ask
    route: Route
    model: str
    config: ModelConfig
    reference: str
    created: float
    images: Sequence[str] | None


class Provider(ABC):
    """One upstream protocol. `table` gives status and error code for each reason of a refusal."""

    table: ClassVar[Mapping[Reason, tuple[int, str]]]

    @abstractmethod
    def route(self, method: str, path: str) -> Route | None:
        """The documented route, or None."""

    @abstractmethod
    def authorized(self, headers: Headers, upstream: UpstreamConfig) -> bool:
        """Whether the credentials are right."""

    @abstractmethod
    def read(self, route: Route, content: Content) -> Ask:
        """Check every documented rule; raises InvalidAskError. Slow for input images: call it in a thread."""

    @abstractmethod
    def success(self, success: Success) -> Answer:
        """The answer that holds the images."""

    @abstractmethod
    def envelope(self, error: Failure) -> dict[str, Any]:
        """The body of an error."""

    def model(self, route: Route, content: Content) -> str | None:
        """The model that the request names; None if it names none."""
        value = route.model or content.fields.get("model")
        return value if isinstance(value, str) else None

    def operation(self, route: Route, content: Content) -> Route:  # noqa: ARG002  # most paths say it
        """The route with the operation that the body asks for, where one path serves both."""
        return route

    def inline(self, ask: Ask) -> bool:  # noqa: ARG002  # providers that answer with URLs look at it
        """Whether the answer holds the images themselves, and not their URLs."""
        return True

    def refuses_policy(self, ask: Ask) -> bool:
        """Whether a prompt against the content policy is refused at once; if not, its job fails later."""
        return not ask.queued

    def callback_url(self, headers: Headers) -> str | None:  # noqa: ARG002  # most upstreams never call back
        """The URL that the client names for the upstream callback; raises InvalidAskError if it is none."""
        return None

    def fault_code(self, status: int) -> str:
        """The error code of a `status` fault: the provider's own for that status, or the status's name."""
        usual: tuple[Reason, ...] = ("invalid", "unauthorized", "unknown_model", "policy", "throttled")
        own = {self.table[reason][0]: self.table[reason][1] for reason in reversed(usual)}
        return own.get(status) or self.status_name(status)

    def status_name(self, status: int) -> str:
        """The error code for a status that the provider does not document."""
        return str(status)

    def refuse(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a refused call."""
        status, code = self.table.get(refusal.reason, (500, "internal_error"))
        status = refusal.status or status
        if refusal.reason == "fault":
            code = self.fault_code(status)
        return json_answer(status, self.envelope(Failure(status, refusal.code or code, refusal)), headers)


class JobProvider(Provider):
    """A submit-and-poll protocol: what it asks to be `queued` becomes a job, which its clients poll."""

    @abstractmethod
    def accepted(self, job: Job, base_url: str) -> Answer:
        """The answer to a submit."""

    @abstractmethod
    def polled(self, job: Job, now_ns: int) -> Answer:
        """The answer to a poll at `now_ns` (nanoseconds of `time.monotonic_ns`)."""


class Fields(BaseModel):
    """Base of the request models: documented fields only, and no conversions between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


AnyFields = TypeVar("AnyFields", bound=Fields)


def checked(model: type[AnyFields], values: Mapping[str, Any], *, strict: bool = True) -> AnyFields:
    """Validate; raises InvalidAskError that names the first wrong field. Forms have text: not strict."""
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidAskError(f"{name}: {first['msg']}", name) from error


def bearer(headers: Headers) -> str | None:
    """The token of an `Authorization: Bearer` header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def openai_envelope(error: Failure) -> dict[str, Any]:
    """The error body of OpenAI, which several services took over."""
    kind = "server_error" if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    refusal = error.refusal
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": error.code}}


def phrase(status: int) -> str:
    """The standard phrase of a status, or its number if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)


def offers(config: ModelConfig, operation: Operation) -> bool:
    """Whether the model is configured with this operation."""
    return operation in config.operations
