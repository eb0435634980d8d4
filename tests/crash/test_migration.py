"""A process dies in the middle of a migration: nothing of it is left, and the next one migrates."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from imagequeue.store.database import open_engine
from imagequeue.store.migration import migrate
from tests.crash.conftest import Crash
from tests.eventually import eventually


@pytest.fixture
def empty(postgres_url: URL, database_url: str) -> Iterator[str]:
    """A database without a schema."""
    name = f"{database_url.rpartition('/')[2]}_empty"
    administrator = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with administrator.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.set(database=name).render_as_string(hide_password=False)
    with administrator.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    administrator.dispose()


def test_a_migration_is_whole_or_not_there(crash: Crash, empty: str) -> None:
    engine = open_engine(empty, pool_size=2, name="tests")
    tables = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")
    crash.place = replace(crash.place, database_url=empty)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE ledger_entries ()"))  # the migration stops at this name
        pid = crash.start("migrate")
        eventually(lambda: connection.execute(waits).scalar_one())
        os.kill(pid, signal.SIGKILL)
        assert crash.mother.end() == -signal.SIGKILL
        connection.rollback()
        assert connection.execute(tables).scalar_one() == 0
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM ledger_entries")).scalar_one() == 0
    engine.dispose()
