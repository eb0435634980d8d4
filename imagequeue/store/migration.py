"""Migrates the schema. A file of its own, so that only a process that migrates loads Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from imagequeue.programs import FOLDER

MIGRATION_LOCK = 0x1A6E_0E0E
"""Key of the advisory lock under which migrations run, so that two starting processes do not race."""

MIGRATIONS = FOLDER / "migrations"


def migrate(engine: Engine) -> None:
    """Bring the schema to its newest revision, in one transaction, one process at a time."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        command.upgrade(_configuration(connection), "head")


def _configuration(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
