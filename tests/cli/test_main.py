"""The console script as a program."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cli.main import COMMANDS, application


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    done = _run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    assert not [
        module for module in ("sqlalchemy", "redis", "psycopg", "httpx") if f" {module}\n" in done.stderr
    ]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    words = [name, "--help"]
    done = CliRunner().invoke(application(words), words)
    assert done.exit_code == 0
    assert COMMANDS[name].help in " ".join(done.stdout.split())


def test_an_unknown_command_is_refused() -> None:
    done = _run("upp")
    assert done.returncode == 2
    assert "upp" in done.stderr
