"""The schema is what the tables say, and the constraints refuse what must never happen."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from imagequeue.store.tables import metadata


def test_head_of_the_migrations_equals_the_metadata(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
