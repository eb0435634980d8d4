"""A second connection that holds locks, as a migration, a backup or a forgotten psql does."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from sqlalchemy import Engine, text

from tests.eventually import eventually


@contextlib.contextmanager
def holding(engine: Engine, statement: str, **values: object) -> Generator[None]:
    """Hold what a statement locks while the context is open."""
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text(statement), values)
        yield
        transaction.rollback()


WALLET = "SELECT FROM wallets WHERE account_id = :account_id FOR UPDATE"


def wait_until_blocked(engine: Engine, count: int = 1) -> None:
    """Wait until so many statements in this database wait for a lock."""

    def blocked() -> bool:
        with engine.connect() as connection:  # one transaction would see the same activity for ever
            return connection.execute(_BLOCKED).scalar_one() >= count

    eventually(blocked)


_BLOCKED = text("""
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
""")
