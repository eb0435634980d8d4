"""`make audit` never says that nothing is known when it could not ask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).parents[2] / "requirements" / "audit.py"
CLEAN: dict[str, Any] = {"name": "one", "version": "1.0", "vulns": []}
KNOWN: dict[str, Any] = {
    "name": "two",
    "version": "2.0",
    "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.1"]}],
}
SKIPPED: dict[str, Any] = {"name": "three", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("pins", "status", "told"),
    [
        ([CLEAN], 0, "nothing is known against 1 pins"),
        ([CLEAN, KNOWN], 1, "two 2.0: CVE-2026-1, mended in 2.1"),
        ([CLEAN, SKIPPED], 2, "of 2 pins 1 could not be checked: three"),
        ([KNOWN, SKIPPED], 1, "could not be checked"),
        (None, 2, "could not read pins.txt: it cannot"),
    ],
)
def test_what_is_said_of_what_pip_audit_tells(
    tmp_path: Path, pins: list[dict[str, Any]] | None, status: int, told: str
) -> None:
    program = tmp_path / "pip-audit"
    answer = "echo it cannot >&2" if pins is None else f"echo '{json.dumps({'dependencies': pins})}'"
    program.write_text(f"#!/bin/sh\n{answer}\n", "ascii")
    program.chmod(0o700)
    done = subprocess.run(
        [sys.executable, AUDIT, program, "pins.txt"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (status, "")
    assert told in done.stdout
