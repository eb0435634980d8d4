"""A real server on the test's database, and clients with keys."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine

from api.app import create_app
from api.edge.limits import EdgeLimits
from api.edge.protocol import edge_protocol
from imagequeue.dialects.registry import DIALECTS, Dialects
from imagequeue.runtime import Runtime
from tests.builders import MODEL, account, count, runtime
from tests.loopback import NO_TLS
from tests.servers import ServerThread

ROUTE = f"/{MODEL}/v1/{MODEL}-request"
BODY: dict[str, Any] = {
    "prompt": "A photorealistic still life of vintage cameras on a wooden desk, warm window light",
    "num_images": 1,
    "aspect_ratio": "auto",
    "output_format": "png",
    "sync_mode": False,
}
TABLES = ("jobs", "job_requests", "events", "ledger_entries", "idempotency_keys")


@dataclass
class Service:
    """The running server."""

    url: str
    app: FastAPI
    engine: Engine
    runtime: Runtime
    clients: list[Client] = field(default_factory=list["Client"])

    def client(self, name: str = "client", funds: str = "10", **terms: Any) -> Client:
        account_id, issued = account(self.engine, name, funds, **terms)
        self.clients.append(Client(self, account_id, issued.id, issued.key))
        return self.clients[-1]

    def rows(self) -> dict[str, int]:
        return {table: count(self.engine, table) for table in TABLES}


class Client:
    """An account's key, and HTTP with it."""

    def __init__(self, service: Service, account_id: UUID, key_id: UUID, key: str) -> None:
        self.service = service
        self.account_id = account_id
        self.key_id = key_id
        self.key = key
        self.http = httpx.Client(
            base_url=service.url, headers={"Ocp-Apim-Subscription-Key": key}, timeout=120, verify=NO_TLS
        )

    def generate(
        self, route: str = ROUTE, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        return self.http.post(route, json={**BODY, **fields}, headers=headers)

    def status(self, request_id: str) -> httpx.Response:
        return self.http.get(f"/v2/requests/status/{request_id}")

    def wallet(self) -> dict[str, Any]:
        return self.http.get("/v2/wallet").json()


@contextlib.contextmanager
def serving(
    engine: Engine,
    database_url: str,
    *,
    dialects: Dialects = DIALECTS,
    limits: EdgeLimits | None = None,
    **settings: Any,
) -> Generator[Service]:
    """Serve until the context ends."""
    own = runtime(engine, database_url, **settings)
    try:
        app = create_app(own, dialects, limits)
        with ServerThread(app, http=edge_protocol(app.state.edge)) as server:
            service = Service(server.url, app, engine, own)
            yield service
            for client in service.clients:
                client.http.close()
    finally:
        own.redis.close()


def title_and_message(response: httpx.Response) -> tuple[str, str]:
    """What Pixazo's envelope says, and that it says nothing else."""
    body = response.json()
    assert set(body) == {"error", "message"}
    return body["error"], body["message"]
