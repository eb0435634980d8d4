"""The delivery log, redelivery and recovery over HTTP, and the commands that show them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner

from cli import webhooks
from imagequeue.lifecycle.deliver.redeliver import Recoveries
from tests.api.service import Client, Service

app = typer.Typer()
app.add_typer(webhooks.app)

_DELIVERY = """
    INSERT INTO deliveries (id, account_id, job_id, webhook_id, url, target, body, state, attempt_count,
        finished_at)
    SELECT gen_random_uuid(), account_id, id, 'msg_1', 'https://a.example/hook', 'https://a.example:443',
        '{}', 'DEAD', :attempts, clock_timestamp()
    FROM jobs WHERE id = CAST(:job AS uuid)
"""
_ATTEMPTS = """
    INSERT INTO delivery_attempts
        (id, delivery_id, number, latency_ms, http_status, outcome, response_excerpt)
    SELECT gen_random_uuid(), id, number, 12, 503, 'http_503', 'try later'
    FROM deliveries, generate_series(1, :attempts) AS number
"""


def _job(client: Client, attempts: int = 2) -> str:
    """A job whose webhook is dead."""
    request_id: str = client.generate().json()["request_id"]
    with client.service.engine.begin() as connection:
        given = {"attempts": attempts, "job": request_id.rpartition("_")[2]}
        connection.execute(text(_DELIVERY), given)
        connection.execute(text(_ATTEMPTS), given)
    return request_id


def _log(client: Client, request_id: str, **query: Any) -> dict[str, Any]:
    answer = client.http.get(f"/v2/requests/{request_id}/deliveries", params=query)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == request_id
    (delivery,) = answer.json()["data"]
    return delivery


def _run(client: Client, *words: str) -> Any:
    environment = {"IMAGEQUEUE_URL": client.service.url, "IMAGEQUEUE_KEY": client.key}
    result = CliRunner().invoke(app, ["webhooks", *words], env=environment)
    assert result.exit_code == 0, result.output
    return json.loads(result.output) if "--json" in words else result.output


def test_the_log_has_every_attempt_with_time_status_latency_and_answer(client: Client) -> None:
    delivery = _log(client, _job(client))
    assert (delivery["state"], delivery["webhook_id"], delivery["attempt_count"]) == ("DEAD", "msg_1", 2)
    assert (delivery["url"], delivery["next_attempt_at"]) == ("https://a.example/hook", None)
    first, second = delivery["attempts"]
    assert (first["number"], second["number"]) == (1, 2)
    assert first["started_at"].endswith("Z")
    assert {name: first[name] for name in ("latency_ms", "http_status", "outcome", "response")} == {
        "latency_ms": 12,
        "http_status": 503,
        "outcome": "http_503",
        "response": "try later",
    }


def test_a_long_log_is_read_backwards_page_by_page(client: Client) -> None:
    request_id = _job(client, attempts=60)
    numbers = [made["number"] for made in _log(client, request_id)["attempts"]]
    assert numbers == list(range(11, 61))
    earlier = _log(client, request_id, before=11)
    assert [made["number"] for made in earlier["attempts"]] == list(range(1, 11))


@pytest.mark.parametrize("before", ["x", "-1", "1e3", "٣", "999999999", ""])
def test_a_page_that_is_none_is_refused(client: Client, before: str) -> None:
    answer = client.http.get(f"/v2/requests/{_job(client)}/deliveries", params={"before": before})
    assert answer.status_code == 400


def test_a_job_without_a_webhook_has_an_empty_log_and_nothing_to_redeliver(client: Client) -> None:
    request_id = client.generate().json()["request_id"]
    assert client.http.get(f"/v2/requests/{request_id}/deliveries").json() == {"data": []}
    assert client.http.post(f"/v2/requests/{request_id}/redeliver").status_code == 404


def test_a_redelivery_is_due_at_once(client: Client) -> None:
    request_id = _job(client)
    answer = client.http.post(f"/v2/requests/{request_id}/redeliver")
    assert (answer.status_code, answer.json()) == (202, {"request_id": request_id, "redelivered": 1})
    delivery = _log(client, request_id)
    assert delivery["state"] == "PENDING"
    assert delivery["next_attempt_at"]


def test_webhooks_of_another_account_are_not_there(service: Service) -> None:
    client, other = service.client("one"), service.client("two")
    request_id = _job(client)
    assert other.http.get(f"/v2/requests/{request_id}/deliveries").status_code == 404
    assert other.http.post(f"/v2/requests/{request_id}/redeliver").status_code == 404
    recovery = client.http.post("/v2/webhooks/recover", json={"since": "2026-01-01T00:00:00Z"}).json()
    assert other.http.get(f"/v2/webhooks/recoveries/{recovery['id']}").status_code == 404
    assert _log(client, request_id)["state"] == "DEAD"


def test_a_recovery_goes_on_in_the_background_with_counts(client: Client) -> None:
    request_id = _job(client)
    began = client.http.post("/v2/webhooks/recover", json={"since": "2026-01-01T00:00:00Z"})
    assert began.status_code == 202
    assert (began.json()["state"], began.json()["redelivered"]) == ("RUNNING", 0)
    Recoveries(client.service.engine).run_once()
    done = client.http.get(f"/v2/webhooks/recoveries/{began.json()['id']}").json()
    assert (done["state"], done["redelivered"], done["skipped"]) == ("FINISHED", 1, 0)
    assert _log(client, request_id)["state"] == "PENDING"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "8999-01-01T00:00:00Z"},
        {"since": "2026-01-01T00:00:00Z", "limit": 5},
    ],
)
def test_a_range_that_is_none_is_refused(client: Client, body: dict[str, Any]) -> None:
    assert client.http.post("/v2/webhooks/recover", json=body).status_code == 400


@pytest.mark.parametrize("name", ["x", "00000000-0000-7000-8000-000000000000"])
def test_a_recovery_that_nobody_began_is_not_there(client: Client, name: str) -> None:
    assert client.http.get(f"/v2/webhooks/recoveries/{name}").status_code == 404


def test_the_same_from_the_command_line(client: Client) -> None:
    request_id = _job(client)
    assert "http_503" in _run(client, "deliveries", request_id)
    assert _run(client, "deliveries", request_id, "--json")["data"][0]["attempt_count"] == 2
    assert _run(client, "redeliver", request_id, "--json")["redelivered"] == 1
    began = _run(client, "recover", "--since", "2026-01-01T00:00:00Z", "--json")
    Recoveries(client.service.engine).run_once()
    assert _run(client, "recovery", began["id"], "--json")["state"] == "FINISHED"
    assert "0 due again" in _run(client, "recovery", began["id"])
