"""`imagequeue backfill run` is killed anywhere, and started again: one batch, and each image once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.backfill.conftest import BackfillShell
from tests.e2e.live import ROOT

pytestmark = pytest.mark.long

LINES = 130
"""More than a page of results, so that something was remembered before and something was not."""

POINTS = ("after_key", "after_upload", "after_create", "after_images", "after_manifest")


def command(shell: BackfillShell) -> list[str]:
    """What a user types, for a process of its own."""
    source = str(shell.home / "prompts.txt")
    return [sys.executable, "-m", "cli", "backfill", "run", source, "--out", str(shell.out), "--yes"]


def kill_at(shell: BackfillShell, point: str) -> None:
    """Run the command, which is killed at a place of the program."""
    done = subprocess.run(
        command(shell),
        env={**os.environ, **shell.environment, "IMAGEQUEUE_FAILPOINT": f"backfill.{point}:kill"},
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def is_whole(shell: BackfillShell) -> None:
    """There is one batch, each image was downloaded once, and the folder is what the manifest says."""
    assert len(shell.service.keys) == 1
    assert set(shell.service.downloads.values()) == {1}
    rows = shell.manifest()
    assert [row["line"] for row in rows] == [str(number) for number in range(1, LINES + 1)]
    assert {row["file"] for row in rows} == shell.images().keys()
    hidden = {path.name for path in shell.out.iterdir() if path.name.startswith(".")}
    assert hidden == {".imagequeue.json", ".imagequeue.lock"}


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_was_killed_goes_on(shell: BackfillShell, point: str) -> None:
    source = shell.write("".join(f"prompt {number}\n" for number in range(LINES)))
    kill_at(shell, point)
    shell.run(source)
    is_whole(shell)
    assert len(shell.service.files) == (2 if point == "after_upload" else 1)


def test_a_manifest_that_was_being_rewritten_is_whole(shell: BackfillShell) -> None:
    source = shell.write("".join(f"prompt {number}\n" for number in range(LINES)))
    shell.service.refused = {"prompt 4"}
    shell.run(source, status=3)
    shell.service.retried = [5]
    kill_at(shell, "before_rename")
    assert len(shell.manifest()) == LINES + 1
    shell.run(source, status=3)  # the small server still counts the first failure
    rows = [(row["line"], row["status"]) for row in shell.manifest()]
    assert (len(rows), rows[-1]) == (LINES, ("5", "completed"))
    assert len(shell.images()) == LINES


def test_ctrl_c_stops_the_command_and_says_that_the_batch_goes_on(shell: BackfillShell) -> None:
    shell.service.status = "in_progress"
    source = shell.write("a fox\n")
    with subprocess.Popen(
        command(shell),
        env={**os.environ, **shell.environment},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert shell.service.looked.wait(120)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, "a batch goes on at the server" in said) == (130, True), said
    shell.service.status = "completed"
    shell.run(source)
    assert len(shell.service.keys) == 1
    assert max(shell.service.downloads.values()) <= 2, "an image is downloaded again only if it was not whole"
