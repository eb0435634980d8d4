"""A user's shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.api.service import serving
from tests.cli.shell import Shell


@pytest.fixture
def shell(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Shell]:
    """A server, and the shell of one of its users."""
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        yield Shell(service.client())
