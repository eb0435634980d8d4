"""Transactions of one statement: durable when the statement has returned, with the session's limits."""

from __future__ import annotations

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from imagequeue.store.database import Pooler, one_statement, open_engine

WRITE = text("INSERT INTO catalog_reloads DEFAULT VALUES")
COUNT = text("SELECT count(*) FROM catalog_reloads")
LIMITS = text("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")


def _status(connection: Connection) -> TransactionStatus:
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.info.transaction_status


def _count(engine: Engine) -> int:
    with engine.begin() as connection:
        return connection.execute(COUNT).scalar_one()


def test_a_statement_is_committed_when_it_has_returned_and_no_transaction_is_open(engine: Engine) -> None:
    before = _count(engine)
    with one_statement(engine) as connection:
        connection.execute(WRITE)
        assert _status(connection) is TransactionStatus.IDLE
        assert _count(engine) == before + 1


def test_the_same_session_is_given_out_for_a_transaction_afterwards(database_url: str) -> None:
    engine = open_engine(database_url, pool_size=1, name="tests")
    before = _count(engine)
    with pytest.raises(DBAPIError), one_statement(engine) as connection:
        connection.execute(text("SELECT 1 / 0"))
    with engine.connect() as connection:
        connection.execute(WRITE)
        assert _status(connection) is TransactionStatus.INTRANS
        connection.rollback()
    assert _count(engine) == before
    engine.dispose()


@pytest.mark.parametrize("pooler", [None, "transaction"])
def test_the_limits_hold_directly_and_through_a_pooler(pooler: Pooler | None, database_url: str) -> None:
    engine = open_engine(database_url, pool_size=1, name="tests", pooler=pooler)
    before = _count(engine)
    with one_statement(engine) as connection:
        assert tuple(connection.execute(LIMITS).one()) == ("10s", "30s")
    with one_statement(engine) as connection:
        connection.execute(WRITE)
    assert _count(engine) == before + 1
    engine.dispose()
