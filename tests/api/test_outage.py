"""The database away: 503 with `Retry-After` at once, and service again by itself when it is back."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Generator

import httpx
import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from imagequeue.store.database import open_engine
from tests.api.service import Client, Service, serving, title_and_message

Outage = Callable[[], contextlib.AbstractContextManager[None]]


@pytest.fixture
def outage(postgres_url: URL, database_url: str) -> Outage:
    """Ends all connections to the test's database and lets nobody in, while the context is open."""
    name = database_url.rpartition("/")[2]

    def administer(*statements: str) -> None:
        engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    @contextlib.contextmanager
    def away() -> Generator[None]:
        administer(
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608
        )
        yield
        administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    return away


@contextlib.contextmanager
def read_only(database_url: str) -> Generator[None]:
    """Sessions that begin while the context is open take no writes; those that were there have ended."""
    url = make_url(database_url)
    engine = create_engine(
        url.set(query={"options": "-cdefault_transaction_read_only=off"}),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {url.database} SET default_transaction_read_only = on"))
        connection.execute(
            text("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
            """)
        )
        try:
            yield
        finally:
            connection.execute(text(f"ALTER DATABASE {url.database} RESET default_transaction_read_only"))
    engine.dispose()


def assert_away(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "x-should-retry" not in answer.headers
    assert title_and_message(answer)[0] == "Service Unavailable"


def test_everything_is_503_and_comes_back(client: Client, service: Service, outage: Outage) -> None:
    request_id = client.generate().json()["request_id"]
    with outage():
        assert_away(client.generate())
        assert_away(client.status(request_id))
        assert_away(client.http.get("/v2/wallet"))
        assert_away(client.http.get("/readyz"))
        assert client.http.get("/healthz").status_code == 200
    assert client.http.get("/readyz").status_code == 200
    assert client.status(request_id).status_code == 200
    assert client.generate().status_code == 202
    assert service.rows()["jobs"] == 2


def test_a_database_that_takes_no_writes_is_503_and_comes_back(
    client: Client, service: Service, database_url: str
) -> None:
    """As after a failover, when the address still leads to the server of old, which is a standby now."""
    request_id = client.generate().json()["request_id"]
    with read_only(database_url):
        assert_away(client.generate())
        assert_away(client.http.get("/readyz"))
        assert_away(client.status(request_id))
        assert client.http.get("/healthz").status_code == 200
    assert client.http.get("/readyz").status_code == 200
    assert client.status(request_id).status_code == 200
    assert client.generate().status_code == 202
    assert service.rows()["jobs"] == 2


def test_terminated_connections_cost_no_idle_client_an_error(client: Client, outage: Outage) -> None:
    request_id = client.generate().json()["request_id"]
    with outage():
        pass
    assert client.status(request_id).status_code == 200
    assert client.generate().status_code == 202


def test_a_server_that_never_answers_is_waited_for_once(database_url: str) -> None:
    """A listening port that nobody serves: connecting hangs until the driver gives up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        engine = open_engine(url, pool_size=4, name="tests")
        with serving(engine, database_url) as service:
            answers: list[float] = []
            for _ in range(3):
                began = time.monotonic()
                assert_away(httpx.get(service.url + "/readyz", timeout=120))
                answers.append(time.monotonic() - began)
        engine.dispose()
    assert max(answers[1:]) < answers[0]
