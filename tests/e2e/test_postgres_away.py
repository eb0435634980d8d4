"""Postgres away for longer than a process takes to be found dead.

The API refuses at once and says when to come back, calls in flight keep their result, and nobody is taken
for dead: what an outage of the database makes look old is not old.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import httpx
import psycopg
import pytest

from cli.stack.servers.postgres import EmbeddedPostgres
from imagequeue.lifecycle.sweep import failure_detector
from tests import fleet
from tests.e2e.live import MODEL, SUBMIT, LiveStack
from tests.eventually import eventually

pytestmark = pytest.mark.long

JOBS = 40
LATENCY_MS = 6_000
AWAY_SECONDS = failure_detector.SECONDS + 8
PRICE = Decimal("0.039")
SOON_SECONDS = 5.0
"""A client's patience: an API that waits for its database would run into it every time."""


def catalog(simulator_url: str) -> str:
    return f"""
[[models]]
id = "{MODEL}"
price_usd = "{PRICE}"

[[deployments]]
name = "east"
model = "{MODEL}"
provider = "foundry"
upstream_model = "mai"
endpoint = "{simulator_url}/east"
key_env = "TEST_KEY"
rpm = 1000
pace = false
max_in_flight = {JOBS}
cold_start = "fresh"
"""


def test_calls_in_flight_keep_their_result_and_nobody_is_taken_for_dead(tmp_path: Path) -> None:
    slow = {"east": {"rpm": 1000, "latency_ms": [LATENCY_MS, LATENCY_MS]}}
    server = EmbeddedPostgres(tmp_path / "postgres")
    with ExitStack() as cleaning, fleet.simulator_process(tmp_path, fleet.upstreams(slow)) as simulator:
        outage = cleaning.enter_context(ExitStack())
        outage.enter_context(server.running())
        (tmp_path / "catalog.toml").write_text(catalog(simulator), "utf-8")
        options = ("--catalog", str(tmp_path / "catalog.toml"))
        environment = {"IMAGEQUEUE_DATABASE_URL": server.url, "TEST_KEY": fleet.KEY}
        with LiveStack(tmp_path / "data", *options, **environment) as stack:
            submitted = stack.submit(JOBS)
            alive = _await_calls(server.url, simulator)
            outage.close()
            answers = _submits_for(AWAY_SECONDS, stack.client)
            cleaning.enter_context(server.running())
            assert set(stack.statuses(submitted)) == {"COMPLETED"}
            assert Decimal(stack.wallet()["spent"]) == JOBS * PRICE
            rows = _ask(server.url, "SELECT state, count(*) FROM attempts GROUP BY state")
            still = _processes(server.url)
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {
        (503, answers[0].json()["error"])
    }
    assert all(float(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert rows == [("SUCCEEDED", JOBS)]
    assert alive <= still


def _await_calls(database_url: str, simulator_url: str) -> set[object]:
    """Wait until every job's call has reached the upstream; the processes that live then."""
    eventually(lambda: fleet.quotas(simulator_url)["east"]["admitted"] >= JOBS)
    return _processes(database_url)


def _submits_for(seconds: float, client: httpx.Client) -> list[httpx.Response]:
    """Submit again and again while the database is away."""
    until, answers = time.monotonic() + seconds, list[httpx.Response]()
    while time.monotonic() < until:
        answers.append(client.post(SUBMIT, json={"prompt": "nobody hears"}, timeout=SOON_SECONDS))
        time.sleep(0.5)
    return answers


def _processes(database_url: str) -> set[object]:
    """One that was found dead, and wrote itself in again, has begun later."""
    return {row[0] for row in _ask(database_url, "SELECT (id, started_at) FROM processes")}


def _ask(database_url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()
