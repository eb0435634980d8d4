"""Real servers for every test: one Postgres and one Redis a session, one database a test.

`IMAGEQUEUE_TEST_DATABASE_URL` (a superuser's) saves starting a Postgres while one develops.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest
from redis import Redis
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from imagequeue.store.database import open_engine
from imagequeue.store.migration import migrate

_numbers = count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that mostly wait begin first: one that began last would keep the suite waiting for it alone.

    Otherwise the order stays as pytest-randomly has shuffled it.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """A Postgres of this session, without fsync: tests kill processes, not the machine."""
    own = os.environ.get("IMAGEQUEUE_TEST_DATABASE_URL")
    if own:
        yield make_url(own).set(drivername="postgresql+psycopg")
        return
    from cli.stack.postgres import EmbeddedPostgres  # noqa: PLC0415  # only where it is started

    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", extra_settings={"fsync": "off"})
    with server.running():
        yield make_url(server.url).set(drivername="postgresql+psycopg")


@pytest.fixture(scope="session")
def template(postgres_url: URL) -> Iterator[str]:
    """The name of a migrated database, to be copied."""
    name = f"template_{os.getpid()}"
    _administer(postgres_url, f"CREATE DATABASE {name}")
    engine = open_engine(_url(postgres_url, name), pool_size=1, name="tests")
    migrate(engine)
    engine.dispose()
    yield name
    _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres_url: URL, template: str) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _url(postgres_url, name)
    _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A pool of connections to `database_url`."""
    engine = open_engine(database_url, pool_size=8, name="tests")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of this session."""
    from cli.stack.redis import EmbeddedRedis  # noqa: PLC0415  # only where it is started

    server = EmbeddedRedis(tmp_path_factory.mktemp("redis") / "data")
    with server.running():
        yield server.url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of a Redis that is empty when the test begins."""
    with Redis.from_url(redis_server) as redis:  # pyright: ignore[reportUnknownMemberType]
        redis.flushall()  # pyright: ignore[reportUnknownMemberType]
    return redis_server


def _url(server: URL, database: str) -> str:
    return server.set(database=database).render_as_string(hide_password=False)


def _administer(server: URL, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
