"""A server and a client for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.api.second import MOST_BYTES
from tests.api.service import Client, Service, serving
from tests.api.waiting import Waiting, waiting_clients
from tests.dialects.with_second import WITH_SECOND


@pytest.fixture
def service(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Service]:
    """A server without Redis: submits and polls must not need it."""
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        yield service


@pytest.fixture
def client(service: Service) -> Client:
    """An account with ten dollars."""
    return service.client()


@pytest.fixture
def second(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Client]:
    """An account with ten dollars at a server that has a second dialect."""
    settings: dict[str, Any] = {"storage_url": f"file://{tmp_path}/media", "max_body_bytes": MOST_BYTES}
    with serving(engine, database_url, dialects=WITH_SECOND, **settings) as service:
        yield service.client()


@pytest.fixture
def waiting(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Waiting]:
    """Clients that wait at a server without Redis, and the pipeline."""
    with waiting_clients(engine, database_url, tmp_path) as waiting:
        yield waiting
