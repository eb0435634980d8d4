"""Calls to the simulator as an attempt makes them."""

from __future__ import annotations

from typing import Any

import httpx

from imagequeue.domain.catalog import Deployment, ProviderName
from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.upstream import Images, Pending, RawImage
from imagequeue.media.images import check_output
from imagequeue.providers import exchange
from imagequeue.providers.provider import Call, PollingProvider
from imagequeue.providers.registry import PROVIDERS
from tests.loopback import NO_TLS
from tests.providers.deployments import deployment
from tests.servers import SimulatorThread

KEY = "the-key"


class Attempts:
    """Makes calls as an attempt does: build, send, parse, poll, download, check."""

    def __init__(self, simulator: SimulatorThread, client: httpx.Client) -> None:
        self._url = simulator.url
        self._client = client
        self.seconds = 20.0

    def place(self, name: ProviderName, **changes: Any) -> Deployment:
        """A deployment at the simulator."""
        return deployment(name, **{"endpoint": f"{self._url}/{name}", **changes})

    def make(self, name: ProviderName, call: Call, secret: str = KEY, **changes: Any) -> list[EncodedImage]:
        """One call to its end; raises what it comes to."""
        images = self.outcome(name, call, secret, **changes)
        return [check_output(self._content(image), call.output_format) for image in images.images]

    def outcome(self, name: ProviderName, call: Call, secret: str = KEY, **changes: Any) -> Images:
        """One call until its images, or their URLs, are there."""
        provider, place = PROVIDERS[name], self.place(name, **changes)
        with self._send(provider.build(call, place, secret), call.image_count) as response:
            outcome = provider.parse(response, call.image_count)
        while isinstance(outcome, Pending):
            assert isinstance(provider, PollingProvider)
            request = provider.build_poll(outcome.reference, place, secret)
            with self._send(request, call.image_count) as response:
                outcome = provider.parse_poll(response, outcome.reference, call.image_count)
        return outcome

    def _content(self, image: RawImage) -> bytes:
        if image.content is not None:
            return image.content
        with self._send(httpx.Request("GET", image.url or ""), 1) as response:
            assert response.status == 200
            return response.content()

    def _send(self, request: httpx.Request, image_count: int) -> exchange.UpstreamResponse:
        return exchange.send(
            request,
            client=self._client,
            deadline_seconds=self.seconds,
            max_bytes=exchange.response_limit(image_count),
        )


def arm(simulator: SimulatorThread, **fault: Any) -> None:
    """Ask the simulator for a fault."""
    httpx.post(f"{simulator.url}/_sim/faults", json=fault, trust_env=False, verify=NO_TLS).raise_for_status()
