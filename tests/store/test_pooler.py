"""Debian's PgBouncer in transaction mode between a process and Postgres."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import URL, Engine, make_url, text

from imagequeue.domain.errors import ConfigurationError
from imagequeue.store.database import open_engine
from tests.pgbouncer import pgbouncer

LIMITS = text("""
    SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),
        current_setting('idle_in_transaction_session_timeout')
""")
OFTEN = 12
"""After five times psycopg prepares a statement, if it may."""


@pytest.fixture
def pooled(database_url: str) -> Iterator[URL]:
    """The test's database through a pooler that has a single session for it."""
    with pgbouncer(make_url(database_url), "default_pool_size = 1") as url:
        yield url


@pytest.fixture
def pooled_engine(pooled: URL) -> Iterator[Engine]:
    """Connections that know of the pooler."""
    engine = open_engine(_text(pooled), pool_size=2, name="tests", pooler="transaction")
    yield engine
    engine.dispose()


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def test_each_transaction_has_the_limits_and_leaves_none_behind(pooled: URL, pooled_engine: Engine) -> None:
    for _ in range(2):
        with pooled_engine.begin() as connection:
            assert tuple(connection.execute(LIMITS).one()) == ("10s", "30s", "30s")
    with psycopg.connect(_text(pooled.set(drivername="postgresql"))) as connection:
        assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_two_connections_share_a_session_and_neither_misses_a_prepared_statement(
    pooled_engine: Engine,
) -> None:
    with pooled_engine.connect() as one, pooled_engine.connect() as other:
        for number in range(OFTEN):
            for connection in (one, other):
                statement = text("SELECT CAST(:number AS int), pg_backend_pid()")
                assert connection.execute(statement, {"number": number}).one()[0] == number
                connection.commit()


@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = options"])
def test_a_pooler_that_no_setting_tells_of_is_refused_in_a_line_that_names_the_setting(
    database_url: str, more: str
) -> None:
    with pgbouncer(make_url(database_url), more) as url:
        engine = open_engine(_text(url), pool_size=1, name="tests")
        with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_DATABASE_POOLER: .*`transaction`$"):
            engine.connect()
        engine.dispose()


def test_options_that_the_pooler_refuses_are_named(pooled: URL) -> None:
    url = _text(pooled.update_query_string("options=-csearch_path%3Dapp"))
    engine = open_engine(url, pool_size=1, name="tests", pooler="transaction")
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_DATABASE_URL: .*`options`"):
        engine.connect()
    engine.dispose()
