"""Which routes count against the limit of a key: all that need one, but for those that are named here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from api.dialect_routes import documented_path
from tests.api.service import Client, Service, serving
from tests.dialects.with_second import WITH_SECOND

FREE = {
    "get /healthz": "has no key",
    "get /readyz": "has no key",
    "get /media/{token}/{key}": "has no key",
    "post /callbacks/{token}": "has no key",
    "get /metrics": "is the operator's",
    "get /v2/deployments": "is the operator's",
    "post /v2/catalog/reload": "is the operator's",
    "get /v2/requests/status/{request_id}": "polls one status",
    "get /v1/batches/{batch_id}": "polls one status",
    "get /v2/batches/{batch_id}": "polls one status",
    "get /v2/batches/{batch_id}/estimate": "polls one status",
    "get /v2/webhooks/recoveries/{recovery_id}": "polls one status",
    "post /v2/requests/{request_id}/cancel": "ends what costs",
    "post /v1/batches/{batch_id}/cancel": "ends what costs",
    "post /v2/batches/{batch_id}/cancel": "ends what costs",
    "post /v2/batches/{batch_id}/pause": "ends what costs",
    "post /v2/batches/{batch_id}/give-up": "ends what costs",
    "get /v1/webhook_event_types": "is answered from memory",
}
"""Routes of our own that do not count, and why. A new one counts, or says here why it does not."""

FREE_OF_DIALECTS = {
    f"{route.method.lower()} {documented_path(route)}"
    for _, route in WITH_SECOND.routes()
    if route.verb in {"status", "cancel", "models"}
}


@pytest.fixture
def limited(engine: Engine, database_url: str, redis_url: str) -> Iterator[Client]:
    """A client with a limit that it does not reach, at a server that has a second dialect."""
    with serving(engine, database_url, dialects=WITH_SECOND, redis_url=SecretStr(redis_url)) as service:
        yield service.client("limited", rpm=1_000_000)


def routes(client: Client) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in client.http.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def is_counted(client: Client, method: str, path: str) -> bool:
    """Whether a request counts that the route refuses for what it names, and for its body."""
    wrong: dict[str, Any] = {"content": b"[", "headers": {"Content-Type": "application/json"}}
    body: dict[str, Any] = {} if method in {"get", "delete"} else wrong
    with client.http.stream(method, re.sub(r"\{\w+\}", "none", path), **body) as answer:
        return "RateLimit" in answer.headers


def test_every_route_counts_unless_it_is_named_here_and_the_document_says_so(limited: Client) -> None:
    free = set[str]()
    for method, path, operation in routes(limited):
        counted = is_counted(limited, method, path)
        told = {name for response in operation["responses"].values() for name in response.get("headers", ())}
        assert ("RateLimit" in told) == counted, f"{method} {path}"
        if not counted:
            free.add(f"{method} {path}")
    assert free == FREE.keys() | FREE_OF_DIALECTS


@pytest.fixture
def by_default(engine: Engine, database_url: str, redis_url: str) -> Iterator[Service]:
    with serving(engine, database_url, redis_url=SecretStr(redis_url), default_key_rpm=2) as service:
        yield service


def test_a_key_without_a_limit_of_its_own_has_that_of_the_operator(by_default: Service) -> None:
    plain, generous = by_default.client("plain"), by_default.client("generous", rpm=100)
    job = plain.generate()
    assert job.headers["RateLimit-Policy"] == '"key";q=2;w=60'
    assert plain.http.get("/v2/requests").status_code == 200
    refused = plain.http.get("/v2/requests")
    assert (refused.status_code, 1 <= int(refused.headers["Retry-After"]) <= 30) == (429, True)
    assert "2 requests a minute" in refused.json()["message"]
    assert [plain.status(job.json()["request_id"]).status_code for _ in range(4)] == [200] * 4
    assert [generous.http.get("/v2/requests").status_code for _ in range(4)] == [200] * 4


def test_an_operators_routes_do_not_count_against_the_default(by_default: Service) -> None:
    operator = by_default.client("operator", operator=True)
    assert [operator.http.get("/v2/deployments").status_code for _ in range(4)] == [200] * 4


def test_a_request_counts_once_however_often_its_route_asks_for_the_key(by_default: Service) -> None:
    answer = by_default.client("plain").http.get(f"/v2/batches/batch_{'0' * 32}/lines")
    assert (answer.status_code, answer.headers["RateLimit"].partition(";t=")[0]) == (404, '"key";r=1')
