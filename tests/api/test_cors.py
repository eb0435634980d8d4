"""Which pages' scripts may call the API from a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.api.service import ROUTE, Client, serving

OURS, THEIRS = "https://app.example.com", "https://elsewhere.example.com"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "api-key, content-type, idempotency-key",
}


@pytest.fixture
def named(engine: Engine, database_url: str) -> Iterator[Client]:
    with serving(engine, database_url, cors_origins=f"{OURS}, http://localhost:3000") as service:
        yield service.client()


def cors(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [OURS, "http://localhost:3000"])
def test_a_named_origin_may_send_what_a_submit_needs(named: Client, origin: str) -> None:
    preflight = named.http.options(ROUTE, headers=PREFLIGHT | {"Origin": origin})
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, origin)
    allowed = preflight.headers["Access-Control-Allow-Headers"]
    assert {"api-key", "content-type", "idempotency-key"} <= set(allowed.split(", "))
    assert "access-control-allow-credentials" not in preflight.headers


def test_its_scripts_read_answers_and_errors(named: Client) -> None:
    for answer in (named.generate(headers={"Origin": OURS}), named.generate("/nowhere", {"Origin": OURS})):
        assert answer.headers["Access-Control-Allow-Origin"] == OURS
        assert answer.headers["Vary"] == "Origin"
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", [THEIRS, "null", f"{OURS}.example.net", f"{OURS}:444"])
def test_another_origin_is_told_nothing(named: Client, origin: str) -> None:
    preflight = named.http.options(ROUTE, headers=PREFLIGHT | {"Origin": origin})
    assert (preflight.status_code, cors(dict(preflight.headers))) == (405, {})
    assert cors(dict(named.generate(headers={"Origin": origin}).headers)) == {}


def test_nobody_is_named_unless_the_setting_does(client: Client) -> None:
    assert cors(dict(client.generate(headers={"Origin": OURS}).headers)) == {}
    assert client.http.options(ROUTE, headers=PREFLIGHT | {"Origin": OURS}).status_code == 405


def test_media_are_for_all_pages(named: Client) -> None:
    for origin in (OURS, THEIRS):
        answer = named.http.get("/media/x/y.png", headers={"Origin": origin})
        assert (answer.status_code, cors(dict(answer.headers))) == (404, {})
