"""Pipelines for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests import fleet
from tests.lifecycle.storage_outage import Outage
from tests.origin import Origin
from tests.pipeline import Pipeline, RunningPipeline


@pytest.fixture
def pipeline(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One deployment with 1,000 calls a minute, no pacing."""
    with RunningPipeline(engine, database_url, tmp_path) as running:
        yield running


TWO: dict[str, dict[str, Any]] = {
    "east": {"rpm": 1000, "pace": False, "timeout_seconds": 3.0},
    "west": {"rpm": 1000, "pace": False, "cost_usd": "1"},  # dearer: asked second
}


@pytest.fixture
def two(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Two deployments; the cheaper one is asked first."""
    with fleet.pipeline(engine, database_url, tmp_path, TWO) as made:
        yield made


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A web server with input images."""
    with Origin() as served:
        yield served


@pytest.fixture
def editing(engine: Engine, database_url: str, tmp_path: Path, origin: Origin) -> Iterator[Pipeline]:
    """A pipeline that may reach the web server."""
    with RunningPipeline(engine, database_url, tmp_path, allow=origin.place) as running:
        yield running


@pytest.fixture
def outage(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Outage]:
    """A pipeline whose storage can be taken away."""
    with RunningPipeline(engine, database_url, tmp_path) as pipeline:
        yield Outage(pipeline)
