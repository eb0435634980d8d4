"""An account that submits."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.lifecycle.submit.client import Client


@pytest.fixture
def client(engine: Engine, database_url: str) -> Client:
    """An account with 10 USD."""
    return Client(engine, database_url)
