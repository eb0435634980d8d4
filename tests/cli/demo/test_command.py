"""The demo as a program: it ends in time, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from cli.demo.deadline import DemoDeadline


def _demo(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli", "demo", "--output", str(folder / "images"), *words]
    return subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_demo_that_runs_out_of_time_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with _demo(tmp_path, "--timeout", "1") as demo:
        output, errors = demo.communicate(timeout=120)
    assert demo.returncode == 1
    assert "imagequeue up" in errors
    assert "--- " in output
    assert not list(tmp_path.glob("imagequeue-demo-*"))


def test_a_terminated_demo_stops_its_stack(tmp_path: Path) -> None:
    with _demo(tmp_path) as demo:
        assert demo.stdout is not None
        assert "starting" in demo.stdout.readline()
        stack = _descendants_once_there(demo.pid)
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=120)
    assert demo.returncode == 128 + signal.SIGTERM
    assert not [process for process in stack if _lives(process)]
    assert not list(tmp_path.glob("imagequeue-demo-*"))


def _lives(process: psutil.Process) -> bool:
    """A zombie has ended; whether somebody collects orphans is up to the machine's first process."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _descendants_once_there(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    deadline = DemoDeadline.after(20)
    while True:
        deadline.left("the stack's processes")
        found = parent.children(recursive=True)
        if len(found) > 1:
            return found
