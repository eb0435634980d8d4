"""Before anything is paid: the estimate of a file, and the question."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.cli.backfill.conftest import BackfillShell
from tests.e2e.live import ROOT

TOLD = "2 lines, 2 images: USD 0.078; 1 min or more, as the quotas allow (limited by eastus)"


def test_an_estimate_says_cost_and_time_and_nothing_runs(shell: BackfillShell) -> None:
    source = shell.write("prompt\na fox\na hen\n", "prompts.csv")
    assert shell.do("estimate", str(source)).stdout.strip() == TOLD
    assert json.loads(shell.do("estimate", str(source), "--json").stdout)["seconds"] == 90
    assert (shell.service.keys, shell.service.estimates[0]) == ([], {"input_file_id": "file-1"})


def test_an_estimate_names_the_lines_that_are_wrong(shell: BackfillShell) -> None:
    shell.service.file_errors = [{"code": "x", "line": 2, "message": "prompt: too long", "param": None}]
    assert "line 2: prompt: too long" in shell.do("estimate", str(shell.write("a\n")), status=2).output


def test_without_a_terminal_the_estimate_is_told_and_nothing_runs(shell: BackfillShell) -> None:
    source = shell.write("a fox\na hen\n")
    result = shell.do("run", str(source), "--out", str(shell.out), status=2)
    assert TOLD in result.output
    assert "--yes" in result.output
    assert shell.service.keys == []
    shell.run(shell.write("another fox\n"))
    assert len(shell.service.keys) == 1


@pytest.mark.parametrize(("answer", "code", "batches"), [("y\n", 0, 1), ("n\n", 5, 0)])
def test_at_a_terminal_the_user_is_asked(shell: BackfillShell, answer: str, code: int, batches: int) -> None:
    source = shell.write("a fox\na hen\n")
    own, users = pty.openpty()
    with os.fdopen(own, "w") as keyboard, os.fdopen(users) as terminal:
        command = [sys.executable, "-m", "cli", "backfill", "run", str(source), "--out", str(shell.out)]
        with subprocess.Popen(
            command,
            env={**os.environ, **shell.environment},
            cwd=ROOT,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            keyboard.write(answer)
            keyboard.flush()
            said, _ = process.communicate(timeout=120)
    assert (process.returncode, TOLD in said) == (code, True), said
    assert len(shell.service.keys) == batches
