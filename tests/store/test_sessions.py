"""What a session is like, whatever the server's defaults are, and when it is dropped."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, make_url, text
from sqlalchemy.exc import OperationalError

from imagequeue.store.database import open_engine
from tests.databases import administer

WRITE = text("INSERT INTO catalog_reloads DEFAULT VALUES")
READ_ONLY = text("SET default_transaction_read_only = on")
"""To the session it is as if the server had become a standby, and to no other session of the server."""


def _setting(connection: Connection, name: str) -> str:
    return connection.execute(text(f"SHOW {name}")).scalar_one()


def _pid(connection: Connection) -> int:
    return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


def test_the_isolation_level_is_ours_whatever_the_servers_default(engine: Engine, database_url: str) -> None:
    url = make_url(database_url)
    administer(url, f"ALTER DATABASE {url.database} SET default_transaction_isolation = 'serializable'")
    try:
        with engine.connect() as connection:
            assert _setting(connection, "default_transaction_isolation") == "serializable"
            assert _setting(connection, "transaction_isolation") == "read committed"
    finally:
        administer(url, f"ALTER DATABASE {url.database} RESET default_transaction_isolation")


def test_options_of_the_url_come_with_the_limits_and_win(database_url: str) -> None:
    url = f"{database_url}?options=-csearch_path%3Delsewhere+-clock_timeout%3D3s"
    engine = open_engine(url, pool_size=1, name="tests")
    with engine.connect() as connection:
        assert _setting(connection, "search_path") == "elsewhere"
        assert _setting(connection, "lock_timeout") == "3s"
        assert _setting(connection, "statement_timeout") == "30s"
    engine.dispose()


def test_a_list_of_hosts_finds_the_one_that_answers(database_url: str) -> None:
    url = make_url(database_url)
    several = url.set(host=None, port=None, query={"host": ("127.0.0.1:1", f"{url.host}:{url.port}")})
    engine = open_engine(several.render_as_string(hide_password=False), pool_size=1, name="tests")
    with engine.connect() as connection:
        assert _setting(connection, "port") == str(url.port)
    engine.dispose()


def test_a_session_that_takes_no_writes_any_more_is_dropped_and_the_database_counts_as_away(
    engine: Engine,
) -> None:
    with engine.connect() as connection:
        before = _pid(connection)
        connection.execute(READ_ONLY)
        connection.commit()
        with pytest.raises(OperationalError, match="read-only"):
            connection.execute(WRITE)
    with engine.begin() as connection:
        assert _pid(connection) != before
        connection.execute(WRITE)


def test_a_session_that_was_told_of_it_is_not_even_read_from(engine: Engine) -> None:
    with engine.connect() as connection:
        before = _pid(connection)
        connection.execute(READ_ONLY)
        connection.commit()
    with engine.connect() as connection:
        assert _pid(connection) != before


def test_no_session_is_opened_with_a_server_that_takes_no_writes(database_url: str) -> None:
    url = make_url(database_url)
    administer(url, f"ALTER DATABASE {url.database} SET default_transaction_read_only = on")
    engine = open_engine(database_url, pool_size=1, name="tests")
    try:
        with pytest.raises(OperationalError, match="session is read-only"):
            engine.connect()
    finally:
        administer(
            url.set(query={"options": "-cdefault_transaction_read_only=off"}), _RESET.format(url.database)
        )
        engine.dispose()
    with engine.begin() as connection:
        connection.execute(WRITE)
    engine.dispose()


_RESET = "ALTER DATABASE {} RESET default_transaction_read_only"
