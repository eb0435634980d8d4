"""A pipeline for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.pipeline import Pipeline, RunningPipeline


@pytest.fixture
def pipeline(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One deployment with 1,000 calls a minute, no pacing."""
    with RunningPipeline(engine, database_url, tmp_path) as running:
        yield running
