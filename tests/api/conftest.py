"""A server and a client for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.api.service import Client, Service, serving


@pytest.fixture
def service(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Service]:
    """A server without Redis: submits and polls must not need it."""
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        yield service


@pytest.fixture
def client(service: Service) -> Client:
    """An account with ten dollars."""
    return service.client()
