"""What operators see of deployments, and how they let a changed catalog be taken up."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.store.attempts.quota import ensure_groups
from tests.api.service import Service, serving, title_and_message
from tests.builders import count

ROUTES = (("GET", "/v2/deployments"), ("GET", "/metrics"), ("POST", "/v2/catalog/reload"))
CATALOG = """
[[models]]
id = "microsoft-mai-image-2-5"
price_usd = "0.05"

[[deployments]]
name = "foundry-test"
model = "microsoft-mai-image-2-5"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "http://127.0.0.1:9"
key_env = "TEST_KEY"
rpm = 7
"""


def test_they_need_an_operators_key(service: Service) -> None:
    client = service.client()
    for method, path in ROUTES:
        wrong = {"Ocp-Apim-Subscription-Key": "wrong"}
        assert client.http.request(method, path).status_code == 403
        assert client.http.request(method, path, headers=wrong).status_code == 401
    assert count(service.engine, "catalog_reloads") == 0


def test_a_catalog_is_checked_and_every_process_is_asked(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "upstream-key")
    path = tmp_path / "catalog.toml"
    path.write_text(CATALOG)
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media", catalog=path) as service:
        operator = service.client("operator", operator=True)
        answer = operator.http.post("/v2/catalog/reload")
        assert (answer.status_code, answer.json()) == (202, {"models": 1, "deployments": 1})
        assert count(engine, "catalog_reloads") == 1
        assert CatalogWatch(service.runtime).run_once() == 1
        models = operator.http.get("/v1/models").json()["data"]
        assert [model["price_usd"] for model in models] == ["0.05"]


def test_a_wrong_catalog_is_refused_and_nobody_is_asked(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(CATALOG + "pacee = true\n")
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media", catalog=path) as service:
        operator = service.client("operator", operator=True)
        answer = operator.http.post("/v2/catalog/reload")
        assert answer.status_code == 400
        assert "deployments 'foundry-test': pacee" in title_and_message(answer)[1]
        assert count(engine, "catalog_reloads") == 0


def test_a_deployment_shows_its_quota_and_its_breaker(service: Service) -> None:
    operator = service.client("operator", operator=True)
    with service.runtime.engine.begin() as connection:
        ensure_groups(connection, service.runtime.catalog.quota_groups.values())
        connection.execute(
            text("""
                INSERT INTO deployment_states
                    (name, failures, misconfigured, reason, opened_at, blocked_until)
                VALUES ('foundry-test', 1, true, 'Access denied', clock_timestamp(),
                    clock_timestamp() + interval '1 minute')
            """)
        )
    shown = {one["name"]: one for one in operator.http.get("/v2/deployments").json()["data"]}
    assert shown["foundry-test"]["breaker"] == "open"
    assert shown["foundry-test"]["misconfigured"] is True
    assert shown["foundry-test"]["last_error"] == "Access denied"
    assert 50 < shown["foundry-test"]["probe_in"] <= 60
    assert shown["second"]["breaker"] == "closed"
    assert shown["second"]["effective_rpm"] == shown["second"]["rpm"] == 1000
