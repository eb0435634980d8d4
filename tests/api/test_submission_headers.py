"""Headers of a submit: kept with the job, or named; repeats are answered as the first one was."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, text

from tests.api.service import BODY, ROUTE, Client, title_and_message

NOTHING = {"jobs": 0, "job_requests": 0, "events": 0, "ledger_entries": 1, "idempotency_keys": 0}
"""Only the deposit."""


def test_fifty_racers_with_one_idempotency_key_get_one_answer(client: Client) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(client.generate, headers={"Idempotency-Key": "once"}) for _ in range(50)]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    assert client.service.rows()["jobs"] == 1
    assert client.wallet()["held"] == "0.039"


def test_the_order_of_fields_is_the_same_request_and_another_body_is_422(client: Client) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    first = client.generate(headers=headers)
    turned = dict(reversed(BODY.items()))
    again = client.http.post(ROUTE, content=json.dumps(turned, indent=3), headers=headers)
    assert again.content == first.content
    other = client.generate(headers=headers, prompt="something else")
    assert other.status_code == 422
    assert other.headers["x-should-retry"] == "false"
    assert client.service.rows()["jobs"] == 1


def test_a_counted_retry_joins_its_first_try(client: Client) -> None:
    answers = [client.generate(headers={"x-stainless-retry-count": str(n)}) for n in (0, 1)]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Lane", "express"),
        ("X-Start-By", "soon"),
        ("X-Start-By", "0"),
        ("X-Finish-By", "-5"),
        ("X-Finish-By", "2020-01-01T00:00:00Z"),
        ("X-Finish-By", "2026-01-01"),
        ("X-Finish-By", "9999-12-31T23:59:59Z"),
        ("X-Webhook-URL", "http://example.com/"),
        ("X-Webhook-URL", "https://127.0.0.1/"),
        ("X-Webhook-URL", "ftp://example.com/"),
        ("X-Webhook-URL", "https://a.example.com/, https://b.example.com/"),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "k" * 256),
    ],
)
def test_a_wrong_header_is_named_and_nothing_is_charged(client: Client, name: str, value: str) -> None:
    answer = client.generate(headers={name: value})
    assert answer.status_code == 400
    assert name in title_and_message(answer)[1]
    assert client.service.rows() == NOTHING


def test_headers_are_kept_with_the_job(client: Client, engine: Engine) -> None:
    zone = timezone(timedelta(hours=2))
    finish_by = datetime.now(zone).replace(microsecond=500_000) + timedelta(hours=1)
    answer = client.generate(
        headers={
            "X-Lane": "backfill",
            "X-Start-By": "30",
            "X-Finish-By": finish_by.isoformat(),
            "X-Webhook-URL": "https://hooks.example.com/cb?x=1",
            "X-Title": "My app",
        }
    )
    assert answer.status_code == 202
    with engine.connect() as connection:
        row = connection.execute(
            text("""
                SELECT lane, start_by - created_at AS wait, finish_by, webhook_url, client_headers
                FROM jobs JOIN job_requests ON job_id = jobs.id JOIN flows ON flows.id = flow_id
            """)
        ).one()
    assert row.lane == "backfill"
    assert 0 < row.wait.total_seconds() < 31
    assert row.finish_by == finish_by
    assert row.webhook_url == "https://hooks.example.com/cb?x=1"
    assert row.client_headers == {"X-Title": "My app"}
