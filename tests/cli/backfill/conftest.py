"""A server with batches, and the shell of one of its users."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cli.backfill.command import app
from tests.cli.backfill.batch_service import BatchService
from tests.servers import ServerThread

ROOT = typer.Typer()
ROOT.add_typer(app, name="backfill")


@dataclass
class BackfillShell:
    """Runs `imagequeue backfill` in a directory of its own."""

    service: BatchService
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"IMAGEQUEUE_URL": self.service.url, "IMAGEQUEUE_KEY": "iq_test"}

    @property
    def out(self) -> Path:
        return self.home / "out"

    def write(self, content: str | bytes, name: str = "prompts.txt") -> Path:
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def do(self, *words: str, status: int = 0) -> Result:
        """Run a command that ends with this exit status."""
        result = CliRunner().invoke(ROOT, ["backfill", *words], env=self.environment)
        assert result.exit_code == status, result.output
        assert not result.exception or isinstance(result.exception, SystemExit), result.exception
        return result

    def run(self, source: Path, *words: str, status: int = 0) -> Result:
        """Run a file into the directory of its images."""
        return self.do("run", str(source), "--out", str(self.out), "--yes", *words, status=status)

    def images(self) -> dict[str, bytes]:
        """The images that are there, by their path."""
        found = (path for path in self.out.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(self.out)): path.read_bytes() for path in found if path.suffix != ".csv"}

    def manifest(self) -> list[dict[str, str]]:
        with (self.out / "manifest.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[BackfillShell]:
    service = BatchService()
    with ServerThread(service.app()) as server:
        service.url = server.url
        yield BackfillShell(service, tmp_path)
