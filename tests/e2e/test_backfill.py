"""`imagequeue backfill` on a live stack: a CSV becomes a folder of images, whenever the command is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.live import ROOT, LiveStack

pytestmark = pytest.mark.long

LINES = 40


def backfill(stack: LiveStack, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does."""
    return subprocess.run(
        [sys.executable, "-m", "cli", "backfill", *words],
        env={**os.environ, "IMAGEQUEUE_KEY": stack.key, "IMAGEQUEUE_URL": stack.url, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def prompts(directory: Path) -> Path:
    """A CSV of prompts."""
    path = directory / "prompts.csv"
    with path.open("w", newline="") as file:
        rows = [("custom_id", "prompt"), *((f"Fox {one}", f"a fox, number {one}") for one in range(LINES))]
        csv.writer(file).writerows(rows)
    return path


def is_whole(out: Path, count: int) -> None:
    """The folder is what the manifest says, and every image has its sha256."""
    with (out / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert {row["file"]: row["sha256"] for row in rows} == {
        name: sha256(content).hexdigest() for name, content in found.items()
    }
    assert len(found) == len({row["custom_id"] for row in rows}) == count


def test_a_csv_becomes_a_folder_of_images_although_the_command_is_killed(
    stack: LiveStack, tmp_path: Path
) -> None:
    source, out = prompts(tmp_path), tmp_path / "pictures"
    words = ("run", str(source), "--out", str(out), "--yes", "--budget", "100")
    spent = float(stack.wallet()["spent"])
    estimate = json.loads(backfill(stack, "estimate", str(source), "--json").stdout)
    assert (estimate["lines"], estimate["images"], estimate["price_usd"]) == (LINES, LINES, "1.56")
    assert estimate["limited_by"]
    for point in ("after_create", "after_images"):
        killed = backfill(stack, *words, IMAGEQUEUE_FAILPOINT=f"backfill.{point}:kill")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = backfill(stack, *words)
    assert done.returncode == 0, done.stderr
    is_whole(out, LINES)
    assert "Fox%200-1.png" in {path.name for path in out.iterdir()}
    assert float(stack.wallet()["spent"]) - spent == pytest.approx(LINES * 0.039)
    shown = json.loads(backfill(stack, "status", str(out), "--json").stdout)
    assert (shown["status"], shown["counts"]["completed"]) == ("completed", LINES)
    (newest, *_) = json.loads(backfill(stack, "list", "--json").stdout)
    assert newest["id"] == shown["id"]


def test_a_budget_that_is_too_small_pauses_and_a_higher_one_goes_on(stack: LiveStack, tmp_path: Path) -> None:
    source, out = prompts(tmp_path), tmp_path / "pictures"
    words = ("run", str(source), "--out", str(out), "--yes")
    paused = backfill(stack, *words, "--budget", "0.39")
    assert (paused.returncode, "budget" in paused.stderr) == (4, True), paused.stderr
    is_whole(out, 10)
    done = backfill(stack, *words, "--budget", "10")
    assert done.returncode == 0, done.stderr
    is_whole(out, LINES)


def test_what_is_wrong_in_a_line_is_told_by_its_number_in_the_csv(stack: LiveStack, tmp_path: Path) -> None:
    source = tmp_path / "prompts.csv"
    source.write_bytes(b"\xef\xbb\xbfprompt,model\r\na fox,\r\na hen,nothing\r\n")
    refused = backfill(stack, "run", str(source), "--out", str(tmp_path / "out"), "--yes")
    assert refused.returncode == 2, refused.stderr
    assert "line 3: Model 'nothing' not found" in refused.stderr
    assert "nothing was charged" in refused.stderr


def test_a_line_that_is_refused_is_retried_alone(stack: LiveStack, tmp_path: Path) -> None:
    source, out = tmp_path / "prompts.txt", tmp_path / "pictures"
    source.write_text("a fox\nforbidden-content\na hen\n")
    words = ("run", str(source), "--out", str(out), "--yes", "--max-failure-rate", "1")
    assert backfill(stack, *words).returncode == 3
    (group,) = json.loads(backfill(stack, "errors", str(out), "--json").stdout)
    assert (group["code"], group["count"], group["first_line"]) == ("refused", 1, 2)
    spent = stack.wallet()["spent"]
    retried = backfill(stack, "retry", str(out), "--code", "refused", "--json")
    assert json.loads(retried.stdout)["status"] == "in_progress", retried.stderr
    assert backfill(stack, *words).returncode == 3
    assert stack.wallet()["spent"] == spent
    with (out / "manifest.csv").open(newline="") as file:
        rows = [(row["line"], row["status"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [("1", "completed"), ("2", "failed"), ("3", "completed")]
