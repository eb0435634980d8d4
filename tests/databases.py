"""One migrated database for the tests of a process: emptied before each, made anew after one that altered it.

A database for each test would cost a seventh of a second of a core: the copy, and the catalog caches that
every connection to a new database builds for itself.
"""

from __future__ import annotations

import os

from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from imagequeue.store.database import open_engine
from imagequeue.store.migration import migrate

_LEAVE = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
"""What a killed process has left: it ends before the next test begins."""

_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
# Whatever alters a table, adds one or takes one away writes rows of pg_class.
_SHAPE = "SELECT md5(string_agg(oid::text || ' ' || xmin::text, ',' ORDER BY oid)) FROM pg_class"
# Rows are deleted, because TRUNCATE makes a hundred files anew, which takes ten times as long. As a replica,
# no foreign key asks for an order.
_EMPTY = """
    DO $$
    DECLARE
        name text;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE 'DELETE FROM public.' || quote_ident(name);
        END LOOP;
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'pristine' LOOP
            EXECUTE 'INSERT INTO public.' || quote_ident(name) || ' TABLE pristine.' || quote_ident(name);
        END LOOP;
        FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
            PERFORM setval(('public.' || quote_ident(name))::regclass, 1, false);
        END LOOP;
    END $$
"""


class ReusedDatabase:
    """A migrated database on a server; `empty` gives its URL.

    One connection stays open between the tests: a new one takes five times as long to empty the database,
    because it has to learn every table first. A test may end it, as it may end every other. The migrations
    run once; what is made anew is a copy.
    """

    def __init__(self, server: URL) -> None:
        self._server = server
        self._url = server.set(database=f"test_{os.getpid()}")
        self._engine = create_engine(self._url, pool_size=1, max_overflow=0, pool_pre_ping=True)
        self._original = f"original_{os.getpid()}"
        self._migrated = False
        self._shape = ""

    def empty(self) -> str:
        """End whoever is connected, take out what was written, and give back the database's URL."""
        if not self._shape or not self._emptied():
            self._create()
        return self._url.render_as_string(hide_password=False)

    def drop(self) -> None:
        """Remove it."""
        self._engine.dispose()
        for name in (self._url.database, self._original):
            administer(self._server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _create(self) -> None:
        if not self._migrated:
            self._migrate()
        self._engine.dispose()
        administer(self._server, f"DROP DATABASE IF EXISTS {self._url.database} WITH (FORCE)")
        administer(self._server, f"CREATE DATABASE {self._url.database} TEMPLATE {self._original}")
        assert self._emptied(changed=True)

    def _migrate(self) -> None:
        administer(self._server, f"DROP DATABASE IF EXISTS {self._original} WITH (FORCE)")
        administer(self._server, f"CREATE DATABASE {self._original}")
        url = self._server.set(database=self._original).render_as_string(hide_password=False)
        engine = open_engine(url, pool_size=1, name="tests")
        migrate(engine)
        with engine.begin() as connection:
            self._keep_what_migrations_wrote(connection)
        engine.dispose()
        self._migrated = True

    def _keep_what_migrations_wrote(self, connection: Connection) -> None:
        connection.execute(text("CREATE SCHEMA pristine"))
        for table in connection.execute(text(_TABLES)).scalars().all():
            if connection.execute(text(f"SELECT EXISTS (SELECT FROM {table})")).scalar_one():  # noqa: S608
                connection.execute(text(f"CREATE TABLE pristine.{table} AS TABLE public.{table}"))

    def _emptied(self, *, changed: bool = False) -> bool:
        """Whether it could be emptied: not when its shape is not what it was."""
        with self._engine.begin() as connection:
            connection.execute(text(_LEAVE))
            shape = connection.execute(text(_SHAPE)).scalar_one()
            if changed or shape == self._shape:
                connection.exec_driver_sql(_EMPTY)
                self._shape = shape
                return True
        return False


def administer(server: URL, statement: str) -> None:
    """Run a statement that wants no transaction."""
    engine: Engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
