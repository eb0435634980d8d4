"""One call, read: which upstream and model is asked for what, or why the call cannot be served."""

from dataclasses import dataclass, replace
from uuid import uuid4

from starlette.datastructures import Headers

from simulator.config import ModelConfig, UpstreamConfig
from simulator.connection import BodyTooLargeError, Connection
from simulator.content import Content, UnreadableBodyError, read_form, read_json
from simulator.faults import Target
from simulator.providers.provider import Ask, InvalidAskError, Provider, Refusal, Route, offers
from simulator.state import Simulator

POLICY_WORD = "forbidden-content"
"""A prompt with this word violates the content policy of every upstream."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A named upstream with its protocol."""

    name: str
    config: UpstreamConfig
    provider: Provider


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `model` is set once it is known to exist; then its quota counts the call, valid or not.

    After `read_call` exactly one of `ask` and `refusal` is set. `base_url` is that of the upstream, as the
    client wrote it. `reference` is the id that the upstream gives to the call. `callback_url` is where the
    upstream posts the final status body.
    """

    upstream: Upstream
    route: Route
    base_url: str
    reference: str
    model: str | None = None
    ask: Ask | None = None
    refusal: Refusal | None = None
    prompt: str | None = None
    callback_url: str | None = None

    @property
    def target(self) -> Target:
        """What a fault is matched with."""
        return Target(self.upstream.name, self.route.operation, self.model, self.prompt)

    @property
    def model_config(self) -> ModelConfig | None:
        """The configuration of the model; None if the upstream has no such model."""
        return None if self.model is None else self.upstream.config.models[self.model]


def new_reference(route: Route) -> str:
    """An id for a call. Where the path names the model (submit-and-poll), the id begins with it."""
    if route.model is None:
        return uuid4().hex
    return f"{route.shown_model}_{uuid4()}"


async def read_call(simulator: Simulator, call: Call, headers: Headers, connection: Connection) -> Call:
    """Read the body and check it. What is wrong with it is in `refusal`; raises ClientGoneError."""
    try:
        body = await connection.body()
    except BodyTooLargeError:
        return replace(call, refusal=Refusal("too_large", "the request body is larger than 64 MiB"))
    if not call.upstream.provider.authorized(headers, call.upstream.config):
        return replace(call, refusal=Refusal("unauthorized", "invalid or missing credentials"))
    try:
        content = await _content(simulator, call.route, headers, body)
    except UnreadableBodyError as error:
        return replace(call, refusal=Refusal("unreadable", str(error)))
    return await _understood(simulator, call, headers, content, len(body))


async def _content(simulator: Simulator, route: Route, headers: Headers, body: bytes) -> Content:
    if route.body == "multipart":
        return await read_form(headers, body)
    return await simulator.read_beside(lambda: read_json(headers, body), len(body))


async def _understood(
    simulator: Simulator, call: Call, headers: Headers, content: Content, size: int
) -> Call:
    provider, config = call.upstream.provider, call.upstream.config
    model = provider.model(call.route, content)
    if model is None:
        return replace(call, refusal=Refusal("invalid", "model: a string is required", "model"))
    subject = call.route.shown_model or model
    if model not in config.models:
        return replace(
            call, refusal=Refusal("unknown_model", f"{model!r} does not exist", "model", subject=subject)
        )
    call = replace(call, model=model, route=provider.operation(call.route, content))
    if call.route.operation != "poll" and not offers(config.models[model], call.route.operation):
        message = f"{call.route.operation} is not supported by {model!r}"
        return replace(call, refusal=Refusal("unsupported", message, "model", subject=subject))
    try:
        ask = await simulator.read_beside(lambda: provider.read(call.route, content), size)
        callback_url = provider.callback_url(headers)
    except InvalidAskError as error:
        return replace(call, refusal=Refusal("invalid", str(error), error.param))
    return _judged(replace(call, ask=ask, prompt=ask.prompt, callback_url=callback_url), ask)


def _judged(call: Call, ask: Ask) -> Call:
    if POLICY_WORD in ask.prompt and call.upstream.provider.refuses_policy(ask):
        message = "The request was rejected because its prompt violates the content policy."
        return replace(call, ask=None, refusal=Refusal("policy", message, "prompt"))
    if call.model is not None and ask.count > (cap := call.upstream.config.models[call.model].max_images):
        return replace(call, ask=replace(ask, count=cap))
    return call
