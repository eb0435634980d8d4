"""A second connection that holds locks, as a migration, a backup or a forgotten psql does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator

from sqlalchemy import Engine, text


@contextlib.contextmanager
def holding(engine: Engine, statement: str, **values: object) -> Generator[None]:
    """Hold what a statement locks while the context is open."""
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text(statement), values)
        yield
        transaction.rollback()


WALLET = "SELECT FROM wallets WHERE account_id = :account_id FOR UPDATE"


def wait_until_blocked(engine: Engine) -> None:
    """Wait until some statement in this database waits for a lock.

    Raises:
        TimeoutError: none does within two minutes.
    """
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with engine.connect() as connection:
            if connection.execute(_BLOCKED).scalar_one():
                return
    raise TimeoutError


_BLOCKED = text("""
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
""")
