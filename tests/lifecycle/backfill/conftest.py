"""An account that creates batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.builders import runtime
from tests.lifecycle.backfill.batches import Batches


@pytest.fixture
def batches(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Batches]:
    """A new account, whose files are stored in a directory."""
    own = runtime(engine, database_url, storage_url=f"file://{tmp_path}/media")
    yield Batches.of(own)
    own.redis.close()
