"""What a provider is: what it can serve, and two pure functions around one exchange.

`build` makes the request of one call and `parse` reads its answer; `exchange.send` is what happens between.
Nothing here knows the database, Celery or the settings, so recorded bodies are enough to test a provider.

A submit-and-poll upstream answers `Pending`. Its `parse_poll` is forgiving where `parse` is strict: the
submit is paid, so a poll that meets an outage is asked again and only a final answer ends the attempt.

One that calls back is told where (`Call.callback_url`). Of what it posts there, the reference alone is
taken: the result is always fetched by a poll.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import httpx

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.images import AUTO, Operation, OutputFormat, Requirement, Shape
from imagequeue.domain.upstream import Images, Pending
from imagequeue.providers.response import UpstreamResponse


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream call for `image_count` images; input images are already PNG or JPEG.

    `callback_url` is where the upstream may post what it took; only a `CallbackProvider` looks at it.
    """

    prompt: str
    operation: Operation = "generate"
    image_count: int = 1
    shape: Shape = AUTO
    output_format: OutputFormat = "png"
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input_images: tuple[EncodedImage, ...] = ()
    mask: EncodedImage | None = None
    callback_url: str | None = None


@runtime_checkable
class Provider(Protocol):
    """The adapter to one upstream service."""

    def refusal(self, requirement: Requirement, deployment: Deployment) -> str | None:
        """The reason why this upstream cannot serve the requirement, as clients read it; None: it can."""
        ...

    def images_per_call(self, requirement: Requirement) -> int:
        """How many images one call may ask for, at least 1."""
        ...

    def build(self, call: Call, deployment: Deployment, secret: str) -> httpx.Request:
        """Make the request. `secret` is the API key, or the token when the deployment uses Entra ID."""
        ...

    def parse(self, response: UpstreamResponse, image_count: int) -> Images | Pending:
        """Read the answer of a call for `image_count` images.

        Raises:
            UpstreamError: one of Rejected, Throttled, Unavailable, Misconfigured, Ambiguous.
        """
        ...


@runtime_checkable
class PollingProvider(Provider, Protocol):
    """An upstream that takes a request first and is asked for its result later."""

    def build_poll(self, reference: str, deployment: Deployment, secret: str) -> httpx.Request:
        """Make the request that asks for the result of what `Pending.reference` names."""
        ...

    def parse_poll(self, response: UpstreamResponse, reference: str, image_count: int) -> Images | Pending:
        """Read the answer of a poll; outages and throttling are `Pending` again.

        Raises:
            Rejected: the upstream refused the request.
            Unavailable: the upstream gave it up, does not know it, or its result cannot be used.
            Misconfigured: our key is wrong; the submitted request is not lost by that.
        """
        ...


@runtime_checkable
class CallbackProvider(PollingProvider, Protocol):
    """One that also posts to a URL which its submit names."""

    def parse_callback(self, body: Mapping[str, Any]) -> str | None:
        """Read the reference out of what the upstream posted; None: there is none that could be asked for."""
        ...
