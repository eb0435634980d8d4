"""A cluster of Postgres, made once for the tests of a file."""

import shutil
from pathlib import Path

import pytest

from cli.stack.servers.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory, made and not running."""
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("cluster") / "postgres")
    postgres.initialise()
    return postgres.directory


@pytest.fixture
def directory(cluster: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(cluster, tmp_path / "postgres"))
