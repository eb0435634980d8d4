"""Postgres away for longer than a process takes to be found dead, and read-only as after a failover.

The API refuses at once and says when to come back, calls in flight keep their result, and nobody is taken
for dead: what an outage of the database makes look old is not old.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal

import httpx
import psycopg
import pytest

from cli.stack.servers.postgres import EmbeddedPostgres
from imagequeue.lifecycle.sweep import failure_detector
from tests import fleet
from tests.e2e.live import MODEL, SUBMIT, LiveStack, job_ids
from tests.eventually import eventually
from tests.postgres import postgres

pytestmark = pytest.mark.long

JOBS = 40
LATENCY_MS = 6_000
AWAY_SECONDS = failure_detector.SECONDS + 8
READ_ONLY_SECONDS = 10
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


class Place:
    """A Postgres that can be stopped, and a stack on it whose only upstream is slow."""

    def __init__(self, server: EmbeddedPostgres, simulator: str) -> None:
        self.server, self.simulator = server, simulator
        self.running = ExitStack()
        self.running.enter_context(server.running())
        self.stack: LiveStack

    @contextmanager
    def away(self) -> Generator[None]:
        """Postgres does not run while the context is open."""
        self.running.close()
        yield
        self.running.enter_context(self.server.running())

    @contextmanager
    def read_only(self) -> Generator[None]:
        """Postgres takes no writes while the context is open, as a standby does."""
        self._set("ALTER SYSTEM SET default_transaction_read_only = on")
        eventually(lambda: self.stack.client.get("/readyz").status_code == 503)
        yield
        self._set("ALTER SYSTEM RESET default_transaction_read_only")

    def _set(self, statement: str) -> None:
        writes = "-c default_transaction_read_only=off"
        with psycopg.connect(self.server.url, autocommit=True, options=writes) as connection:
            connection.execute(statement.encode())
            connection.execute("SELECT pg_reload_conf()")

    def ask(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """The rows."""
        with psycopg.connect(self.server.url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def processes(self) -> set[object]:
        """One that was found dead, and wrote itself in again, has begun later."""
        return {row[0] for row in self.ask("SELECT (id, started_at) FROM processes")}

    def assert_each_called_and_charged_once(self, submitted: Sequence[str]) -> None:
        """Nothing is lost and nothing is doubled. A start that came too late called nobody."""
        assert set(self.stack.statuses(submitted)) == {"COMPLETED"}
        ids = job_ids(submitted)
        states = "SELECT state, count(*) FROM attempts WHERE job_id = ANY(%s::uuid[])"
        assert self.ask(f"{states} AND state <> 'GIVEN_BACK' GROUP BY state", ids) == [
            ("SUCCEEDED", len(submitted))
        ]
        charged = "SELECT count(*), sum(captured) FROM ledger_entries WHERE job_id = ANY(%s::uuid[])"
        assert self.ask(f"{charged} AND kind = 'CAPTURE'", ids) == [(len(submitted), len(submitted) * PRICE)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The stack runs for all tests of this file."""
    folder = tmp_path_factory.mktemp("place")
    slow = {"east": {"rpm": 1000, "latency_ms": [LATENCY_MS, LATENCY_MS]}}
    with fleet.simulator_process(folder, fleet.upstreams(slow)) as simulator:
        made = Place(postgres(folder / "postgres"), simulator)
        (folder / "catalog.toml").write_text(catalog(simulator), "utf-8")
        environment = {"IMAGEQUEUE_DATABASE_URL": made.server.url, "TEST_KEY": fleet.KEY}
        options = ("--catalog", str(folder / "catalog.toml"))
        with made.running, LiveStack(folder / "data", *options, **environment) as made.stack:
            yield made


def test_calls_in_flight_keep_their_result_and_nobody_is_taken_for_dead(place: Place) -> None:
    before = _admitted(place)
    submitted = place.stack.submit(JOBS)
    eventually(lambda: _admitted(place) >= before + JOBS)
    alive = place.processes()
    with place.away():
        answers = _submits_for(AWAY_SECONDS, place.stack.client)
    place.assert_each_called_and_charged_once(submitted)
    _assert_told_when_to_come_back(answers)
    assert alive <= place.processes()


def test_a_server_that_takes_no_writes_for_a_while_loses_and_doubles_nothing(place: Place) -> None:
    before = _admitted(place)
    submitted = place.stack.submit(JOBS // 2)
    eventually(lambda: _admitted(place) >= before + JOBS // 2)
    with ThreadPoolExecutor() as pool:
        with place.read_only():
            patient = pool.submit(place.stack.submit, JOBS)
            answers = _submits_for(READ_ONLY_SECONDS, place.stack.client)
            assert not patient.done()
        submitted += patient.result()
    assert place.stack.client.get("/readyz").status_code == 200
    place.assert_each_called_and_charged_once(submitted)
    _assert_told_when_to_come_back(answers)


def _admitted(place: Place) -> int:
    return fleet.quotas(place.simulator)["east"]["admitted"]


def _submits_for(seconds: float, client: httpx.Client) -> list[httpx.Response]:
    """Submit again and again while the database is away."""
    until, answers = time.monotonic() + seconds, list[httpx.Response]()
    while time.monotonic() < until:
        answers.append(client.post(SUBMIT, json={"prompt": "nobody hears"}, timeout=SOON_SECONDS))
        time.sleep(0.5)  # what is tested is an outage of some length: no event ends it, so time has to pass
    return answers


def _assert_told_when_to_come_back(answers: Sequence[httpx.Response]) -> None:
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {
        (503, answers[0].json()["error"])
    }
    assert all(float(answer.headers["Retry-After"]) > 0 for answer in answers)
