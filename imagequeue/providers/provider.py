"""What a provider is: the adapter to one upstream service, pure functions around one exchange.

`build` makes the request of one call, `exchange.send` sends it, `parse` reads the answer. A provider knows
neither the database nor Celery nor the settings, so recorded bodies are enough to test it.

A submit-and-poll upstream answers `Pending`. `parse_poll` is more tolerant than `parse`: the submit is paid,
so a poll that meets an outage is repeated, and only a final answer ends the attempt.

An upstream that calls back is given a URL by the submit (`Call.callback_url`). Only the reference is read
from what it posts there; the result is always fetched by a poll.
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

    `callback_url` is where the upstream may call back; only a `CallbackProvider` reads it.
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
        """Why this upstream cannot serve the requirement, in words for clients; None when it can."""
        ...

    def images_per_call(self, requirement: Requirement, deployment: Deployment) -> int:
        """How many images one call of the deployment may ask for, at least 1."""
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
    """A provider whose upstream accepts a request first and is polled for the result later."""

    def build_poll(self, reference: str, deployment: Deployment, secret: str) -> httpx.Request:
        """Make the request that asks for the result; `reference` comes from `Pending`."""
        ...

    def parse_poll(self, response: UpstreamResponse, reference: str, image_count: int) -> Images | Pending:
        """Read the answer of a poll; an outage or a 429 is `Pending` again.

        Raises:
            Rejected: the upstream refused the request.
            Unavailable: the upstream gave the request up, does not know it, or its result is unusable.
            Misconfigured: our key is wrong; the upstream still has the request.
        """
        ...


@runtime_checkable
class CallbackProvider(PollingProvider, Protocol):
    """A polling provider whose upstream also calls back at the URL that the submit named."""

    def parse_callback(self, body: Mapping[str, Any]) -> str | None:
        """The reference in the body of an upstream callback; None when it has none that can be polled."""
        ...
