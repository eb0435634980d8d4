"""A receiver of webhooks, and a pipeline whose jobs name it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imagequeue import wiring
from tests.lifecycle.deliver.by_hand import Begun, ByHand, deliver_due
from tests.pipeline import Pipeline

SLOTS = 64


class Receiver:
    """Keeps what it gets and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.url = ""
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.meanwhile: Callable[[], None] | None = None

    async def take(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        if self.meanwhile:
            await asyncio.to_thread(self.meanwhile)
        return Response("thank you", status_code=self.status)


class Webhooks:
    """A pipeline, a receiver, and the delivering between them."""

    def __init__(self, pipeline: Pipeline, receiver: Receiver, url: str) -> None:
        self.pipeline, self.receiver, self.url = pipeline, receiver, f"{url}/hook"
        runtime = pipeline.runtime
        self.pool = ByHand()
        self.deliveries = wiring.deliveries(runtime, self.pool, SLOTS)

    def finish_job(self) -> None:
        self.pipeline.submit(webhook_url=self.url)
        self.pipeline.run()

    def deliver(self) -> int:
        self.pipeline.beat()
        return deliver_due(self.deliveries, self.pool)

    def begin(self) -> Begun:
        """Claim the delivery that is due; its attempt is still to be made."""
        self.pipeline.beat()
        assert self.deliveries.run_once() == 1
        return self.pool.begun.pop()

    def make(self, begun: Begun) -> None:
        """Make an attempt, and record it."""
        begun.make()
        self.deliveries.record_once()

    def row(self) -> Any:
        (row,) = self.pipeline.rows("SELECT *, next_attempt_at - clock_timestamp() AS waits FROM deliveries")
        return row

    def attempts(self) -> list[Any]:
        return self.pipeline.rows("SELECT * FROM delivery_attempts ORDER BY number")

    def secret(self) -> str:
        (row,) = self.pipeline.rows("SELECT webhook_secrets FROM accounts")
        return self.pipeline.runtime.keyring.decrypt(row.webhook_secrets)

    def due(self) -> None:
        self.pipeline.execute(
            "UPDATE deliveries SET next_attempt_at = clock_timestamp(), leased_until = NULL"
        )
        self.pipeline.execute("UPDATE webhook_targets SET open_until = NULL")
