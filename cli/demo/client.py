"""The service as an application uses it: five requests over HTTP."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx

from cli.demo.errors import DemoFailed
from cli.demo.orders import Order

REQUEST_SECONDS = 30.0
"""For each step of a request; the service answers or refuses within 5 s."""


class Client:
    """One API key at one service."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def submit(self, order: Order, webhook_url: str | None) -> str:
        """Queue a job; its `request_id`."""
        headers = {"X-Webhook-URL": webhook_url} if webhook_url else {}
        path = f"/{order.label}/v1/{order.label}-request"
        queued: str = self._ask("POST", path, json=order.body, headers=headers).json()["request_id"]
        return queued

    def status(self, request_id: str) -> bytes:
        """The bytes of the status body."""
        return self._ask("GET", f"/v2/requests/status/{request_id}").content

    def deployments(self, request_id: str) -> list[str]:
        """Which deployments made the images of a job, one for each image."""
        attempts: list[dict[str, Any]] = self._ask("GET", f"/v2/requests/{request_id}/attempts").json()[
            "data"
        ]
        return [
            attempt["deployment"]
            for attempt in attempts
            if attempt["outcome"] == "SUCCEEDED"
            for _ in range(attempt["image_count"])
        ]

    def wallet(self) -> dict[str, Decimal]:
        """`available`, `held` and `spent`, in USD."""
        wallet: dict[str, Any] = self._ask("GET", "/v2/wallet").json()
        return {name: Decimal(wallet[name]) for name in ("available", "held", "spent")}

    def download(self, url: str) -> bytes:
        """An image; its URL needs no key."""
        return _succeeded(httpx.get(url, timeout=REQUEST_SECONDS, trust_env=False)).content

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        return _succeeded(self._http.request(method, path, **given))


@contextmanager
def client(api_url: str, key: str) -> Generator[Client]:
    """A client of the service at `api_url`."""
    with httpx.Client(
        base_url=api_url, headers={"api-key": key}, timeout=REQUEST_SECONDS, trust_env=False
    ) as http:
        yield Client(http)


def _succeeded(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a success.

    Raises:
        DemoFailed: it is not; the message has its status and its text.
    """
    if not answer.is_success:
        asked = f"{answer.request.method} {answer.request.url}"
        raise DemoFailed(f"{asked} answered {answer.status_code}: {answer.text[:500]}")
    return answer
