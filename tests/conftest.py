"""Real servers for every test: one Postgres and one Redis a session, one database a test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from cli.stack.postgres import EmbeddedPostgres
from cli.stack.redis import EmbeddedRedis
from imagequeue.store.database import migrate, open_engine

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres of this session, without fsync: tests kill processes, not the machine."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", extra_settings={"fsync": "off"})
    with server.running():
        yield server.url.replace("postgresql://", "postgresql+psycopg://")
